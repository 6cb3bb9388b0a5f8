package main

import (
	"encoding/json"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// TestHistogram: a quantile is within a bucket's width of the true one, whatever the scale.
func TestHistogram(t *testing.T) {
	for _, unit := range []time.Duration{1, time.Microsecond, time.Millisecond, time.Second} {
		var h, half histogram
		for i := 1; i <= 1000; i++ {
			if i%2 == 0 {
				half.add(time.Duration(i) * unit)
			} else {
				h.add(time.Duration(i) * unit)
			}
		}
		h.merge(&half)
		for _, q := range []float64{.5, .99, .999} {
			got, want := float64(h.quantile(q)), q*1000*float64(unit)
			if math.Abs(got-want) > want/50+2*float64(unit) {
				t.Errorf("quantile %v is %v where %v is wanted", q, got, want)
			}
		}
	}
	var h histogram
	if h.quantile(.5) != 0 {
		t.Error("a median of nothing")
	}
	h.add(time.Hour)
	if got := h.quantile(1); got < 30*time.Minute {
		t.Errorf("an hour is counted as %s", got)
	}
	for b := range h.buckets {
		if got := bucketOf(middle(b)); got != b && b < 64*30 && b >= 2*perPower {
			t.Fatalf("the middle of bucket %d is in %d", b, got)
		}
	}
}

func TestParseMicro(t *testing.T) {
	all, err := parseMicro("pkg: x\nBenchmarkServe/1000000-2   3   200 ns/op   40.5 B/lease\nBenchmarkServe/1000000-2 3 100 ns/op 41.5 B/lease\nBenchmarkServe/1000000-2 3 900 ns/op 9 B/lease\nBenchmarkGrant/100-free-2 1 5 ns/op\nPASS\n")
	if err != nil {
		t.Fatal(err)
	}
	r := report{Micro: all}
	if v, ok := r.figure("BenchmarkServe/1000000", "ns/op"); !ok || v != 200 {
		t.Errorf("%v %v", v, ok)
	}
	if v, ok := r.figure("BenchmarkServe/1000000", "B/lease"); !ok || v != 40.5 {
		t.Errorf("%v %v", v, ok)
	}
	if v, ok := r.figure("BenchmarkGrant/100-free", "ns/op"); !ok || v != 5 {
		t.Errorf("%v %v", v, ok)
	}
	if _, ok := r.figure("BenchmarkGrant/100-free", "B/op"); ok {
		t.Error("a figure from nowhere")
	}
	if _, err := parseMicro("BenchmarkX-2 1 what ns/op\n"); err == nil {
		t.Error("a figure that is none was taken")
	}
}

func TestCosts(t *testing.T) {
	all := costs("      flat  flat%   sum%        cum   cum%\n   0.01s  0.5%  0.5%   0.10s  5.25%  github.com/leasehold/leasehold/capability/wire.(*Codec).SignTree\n       0     0%  0.5%   0.02s  1.25%  github.com/leasehold/leasehold/capability/wire.Grow\n")
	for _, c := range all {
		if want := map[string]float64{signatureAndTree: 6.5}[c.What]; c.Percent != want {
			t.Errorf("%s: %v %%, want %v", c.What, c.Percent, want)
		}
	}
}

// TestGoal: a part that is not kept decides, a missing one is said, and only all kept is met.
func TestGoal(t *testing.T) {
	kept, broken, low := part{value: 1, bound: 1, form: "%.0f"}, part{value: 2, bound: 1, form: "%.0f"}, part{value: 2, bound: 3, least: true, form: "%.0f"}
	none := missing("reason")
	for _, row := range []struct {
		parts []part
		want  string
	}{
		{[]part{kept}, met}, {[]part{kept, broken}, notMet}, {[]part{low}, notMet}, {[]part{none, broken}, notMet}, {[]part{kept, none}, notMeasured}, {[]part{none}, notMeasured},
	} {
		v := goals{}.goal("G", "words", row.parts...)
		if v.Verdict != row.want {
			t.Errorf("%+v: %s, want %s", row.parts, v.Verdict, row.want)
		}
		if missing := strings.Contains(v.Why, "reason"); missing != strings.Contains(v.Figure, "-") {
			t.Errorf("figure %q, why %q", v.Figure, v.Why)
		}
	}
	// Nothing measured, nothing met.
	for _, v := range judge(&report{}) {
		if v.Verdict != notMeasured || v.Why == "" {
			t.Errorf("%s: %s (%s)", v.Name, v.Verdict, v.Why)
		}
	}
}

// TestRatio: ratios are taken inside a round, where the machine was the same.
func TestRatio(t *testing.T) {
	all := table{{Workload: "w", Connections: 1, Server: "a"}, {Workload: "w", Connections: 1, Server: "b"}}
	for _, r := range []float64{1, 10, 100} {
		all[0].Rounds = append(all[0].Rounds, sample{Rate: 2 * r})
		all[1].Rounds = append(all[1].Rounds, sample{Rate: r})
	}
	if v, err := all.ratio("w", 1, "a", "b", rate); err != nil || v != 2 {
		t.Error(v, err)
	}
	if _, err := all.ratio("w", 8, "a", "b", rate); err == nil {
		t.Error("a ratio of what was not run")
	}
}

// TestInstrumentsFit: the daemon with instruments is made from source that is still as expected.
func TestInstrumentsFit(t *testing.T) {
	b, err := os.ReadFile("../../../" + diskSource)
	if err != nil || strings.Count(string(b), syncBegins) != 1 {
		t.Fatalf("%s: %v", diskSource, err)
	}
}

func listener(t *testing.T, serve func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return l.Addr().String()
}

// TestFloor: floor's answers are proven answers, which the client checks, and an answer that is not the wanted one is an error.
func TestFloor(t *testing.T) {
	devices, err := newDevices(3)
	if err != nil {
		t.Fatal(err)
	}
	for _, sign := range []string{signGroup, signEach, signNone} {
		f, err := newFloor(t.TempDir(), sign)
		if err != nil {
			t.Fatal(err)
		}
		go f.commit()
		address := listener(t, f.serve)
		if err := eachAtOnce(len(devices), func(i int) error {
			c, err := workloads()[0].client(address, devices[i], sign)
			if err != nil {
				return err
			}
			for range 3 * verifyEvery {
				if err := c.do(); err != nil {
					return err
				}
			}
			return c.leave()
		}); err != nil {
			t.Errorf("%s: %v", sign, err)
		}
		c, err := workloads()[2].client(address, devices[0], "")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.do(); err == nil || !strings.Contains(err.Error(), "status OK where PARTLY is wanted") {
			t.Errorf("%s: a grant where a refusal is wanted: %v", sign, err)
		}
		c.conn.Close()
	}
	// A signature that is not the server's.
	f, err := newFloor(t.TempDir(), signNone)
	if err != nil {
		t.Fatal(err)
	}
	go f.commit()
	c, err := workloads()[0].client(listener(t, f.serve), devices[0], signGroup)
	if err != nil {
		t.Fatal(err)
	}
	defer c.conn.Close()
	if err := c.do(); err == nil {
		t.Error("an answer without proof was taken for a proven one")
	}
}

// TestTap: a TPM behind the tap is the same TPM, and every command is counted by its kind.
func TestTap(t *testing.T) {
	chip := tpmtest.Start(t, tpmtest.None)
	tap, err := newTap(chip.Dir()+"/bus", chip)
	if err != nil {
		t.Fatal(err)
	}
	defer tap.listener.Close()
	d, err := tpm.Open(tap.address())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	tap.reset()
	for range 3 {
		if _, err := d.Clock(); err != nil {
			t.Fatal(err)
		}
	}
	all, spent := tap.sum()
	if n, _ := tap.sum(tpm2.TPMCCReadClock); n != 3 || all != 3 || spent <= 0 {
		t.Errorf("%d readings of the clock in %d commands, %s", n, all, spent)
	}
	if n, _ := tap.sum(tpm2.TPMCCPCRExtend); n != 0 {
		t.Errorf("%d extends", n)
	}
}

// TestCounters: what is read of processes and the device grows with what is done.
func TestCounters(t *testing.T) {
	dir, pid := t.TempDir(), os.Getpid()
	before, err := usageOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	device, err := deviceBytes(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(dir + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const n = 1 << 20
	if _, err := f.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	after, err := usageOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	now, err := deviceBytes(dir)
	if err != nil {
		t.Fatal(err)
	}
	if after.written-before.written < n || after.cpu <= before.cpu || device > 0 && now-device < n {
		t.Errorf("%d bytes written: %d dirtied, %d on the device, %s of CPU", n, after.written-before.written, now-device, after.cpu-before.cpu)
	}
	if share, err := busyShare(50 * time.Millisecond); err != nil || share < 0 || share > 1 {
		t.Error(share, err)
	}
	if rss, err := residentBytes(pid); err != nil || rss < 1<<20 {
		t.Error(rss, err)
	}
	if _, err := field("/proc/self/status", "NoSuchField"); err == nil {
		t.Error("a field that is not there was read")
	}
}

func TestMarkdown(t *testing.T) {
	r := report{Commit: "c0ffee", Rounds: 5, Rows: table{
		{Workload: checkouts, Connections: 64, Server: echo, Rounds: []sample{{Rate: 100}}},
		{Workload: checkouts, Connections: 64, Server: appliance, Median: sample{Rate: 25, P50: 7}, Rounds: []sample{{Rate: 25}}},
	}}
	r.Goals = judge(&r)
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "report")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := markdown(file, &b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	want := map[string]bool{"| checkouts | 64 | 25 | 7 | 0 | 0 | 0.0 | 0 | 0.000 | 0 | 0.250 |  |  |": false, "| P5 | start to first answer < 150 ms beyond the TPM's own time, median of 20 | - | not measured: not part of this run |": false}
	for _, line := range lines {
		if _, is := want[line]; is {
			want[line] = true
		}
		if strings.HasPrefix(line, "|") && strings.Count(line, "|") != 14 && strings.Count(line, "|") != 5 {
			t.Errorf("a row of other columns: %s", line)
		}
	}
	for line, there := range want {
		if !there {
			t.Errorf("no %s in\n%s", line, b.String())
		}
	}
}
