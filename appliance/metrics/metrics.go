// Package metrics tells Prometheus, and what reads its format, how an appliance is. It names features and pools, and neither users nor devices.
//
// It is a package of its own because it brings much with it: an appliance without it loses GET /metrics and nothing else. Start with New.
package metrics

import (
	"context"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
)

const lookTimeout = 8 * time.Second

// Metrics is a collector of an appliance's figures.
type Metrics struct {
	look     func(context.Context) (*console.Figures, error)
	handler  http.Handler
	took     prometheus.Histogram
	denied   *prometheus.CounterVec
	known    atomic.Pointer[map[string]bool] // features, as of the last look
	seats    *prometheus.Desc
	expiry   *prometheus.Desc
	media    *prometheus.Desc
	offset   *prometheus.Desc
	health   *prometheus.Desc
	complete *prometheus.Desc
}

// New makes metrics of what look finds when they are asked for.
func New(version string, look func(context.Context) (*console.Figures, error)) (*Metrics, error) {
	name := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("leasehold_"+name, help, labels, nil)
	}
	m := &Metrics{
		look: look,
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "leasehold_checkout_seconds", Help: "Time from a client's request to its answer, which is durable then.",
			Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5},
		}),
		denied:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leasehold_denials_total", Help: "Lines of requests that were refused, by feature and code."}, []string{"feature", "reason"}),
		seats:    name("seats", "Units of a feature in a pool: total and used. In all pools, without the label: reserved, and idle for an hour.", "feature", "pool", "state"),
		expiry:   name("expiry_timestamp_seconds", "When the first line item of a feature ends.", "feature"),
		media:    name("media_events_total", "Files that were written and read, by the code of what came of it.", "result"),
		offset:   name("clock_offset_seconds", "How far the system clock is ahead of the trusted time."),
		health:   name("health", "1 for each condition that is there.", "code"),
		complete: name("up", "1 where the appliance answered in time with all of these."),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "leasehold_build_info", Help: "1, with what is running.", ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()}})
	build.Set(1)
	all := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{m, m.took, m.denied, build} {
		if err := all.Register(c); err != nil {
			return nil, err
		}
	}
	m.handler = promhttp.HandlerFor(all, promhttp.HandlerOpts{MaxRequestsInFlight: 2, Timeout: lookTimeout + time.Second})
	return m, nil
}

// ServeHTTP answers GET /metrics.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.handler.ServeHTTP(w, r) }

// Answered is for appliance.Options.
func (m *Metrics) Answered(r *capability.Response, took time.Duration) {
	m.took.Observe(took.Seconds())
	for i := range r.Lines {
		if no := &r.Lines[i].Denial; no.Code != 0 {
			feature := no.Subject
			if known := m.known.Load(); known == nil || !(*known)[feature] {
				feature = "" // what only a client names must not fill the memory
			}
			m.denied.WithLabelValues(feature, no.Code.String()).Inc()
		}
	}
}

// Describe is prometheus.Collector's.
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.seats, m.expiry, m.media, m.offset, m.health, m.complete} {
		to <- d
	}
}

// Collect is prometheus.Collector's.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	ctx, end := context.WithTimeout(context.Background(), lookTimeout)
	defer end()
	f, err := m.look(ctx)
	if err != nil {
		gauge(m.complete, 0)
		return
	}
	gauge(m.complete, 1)
	m.known.Store(&f.Features)
	for _, s := range f.Seats {
		if s.Pool == "" {
			gauge(m.seats, float64(s.Reserved), s.Feature, "", "reserved")
			gauge(m.seats, float64(s.Idle), s.Feature, "", "idle")
			continue
		}
		gauge(m.seats, float64(s.Total), s.Feature, s.Pool, "total")
		gauge(m.seats, float64(s.Used), s.Feature, s.Pool, "used")
	}
	for feature, at := range f.Expiries {
		gauge(m.expiry, float64(at), feature)
	}
	for code, n := range f.Media {
		to <- prometheus.MustNewConstMetric(m.media, prometheus.CounterValue, float64(n), code.String())
	}
	gauge(m.offset, float64(f.Offset))
	there := map[capability.Code]bool{}
	for _, c := range f.Conditions {
		if !there[c.Code] {
			gauge(m.health, 1, c.Code.String())
		}
		there[c.Code] = true
	}
}
