package main

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// subject is a server under load.
type subject struct {
	name   string
	pid    int
	beside int // another process whose CPU is told apart: the software TPM; 0: none
	// dial gives the i-th client, ready for a workload.
	dial func(w workload, i int) (speaker, error)
	// groups counts what was synced so far; nil: it is not known.
	groups func() (uint64, error)
}

// sample is one workload on one server for one round.
type sample struct {
	Ops      uint64  `json:"ops"`
	Rate     float64 `json:"opsPerSecond"`
	P50      float64 `json:"p50us"`
	P99      float64 `json:"p99us"`
	P999     float64 `json:"p999us"`
	CPU      float64 `json:"cpuUsPerOp"`           // of the server
	Written  float64 `json:"bytesPerOp"`           // to the device, by whomever
	Dirtied  float64 `json:"dirtiedPerOp"`         // of the page cache, by the server
	Syncs    float64 `json:"syncsPerOp,omitempty"` // groups made durable; of the appliance
	TPM      float64 `json:"tpmCpuUsPerOp,omitempty"`
	Resident float64 `json:"residentMiB"`
	Request  float64 `json:"requestBytes,omitempty"` // with its length, as sent
	Answer   float64 `json:"answerBytes,omitempty"`  // the largest, mean over the clients
}

// worker is one client in its loop.
type worker struct {
	speaker
	seen histogram
	err  error
}

// run keeps n clients busy, each with one request at a time, and measures for a while after they have warmed up.
func (s *subject) run(w workload, n int, warm, measure time.Duration) (sample, error) {
	workers, err := s.workers(w, n)
	if err != nil {
		return sample{}, fmt.Errorf("%s, %s at %d: %w", s.name, w.name, n, err)
	}
	var stop, record atomic.Bool
	var running sync.WaitGroup
	for _, k := range workers {
		running.Go(func() {
			for !stop.Load() && k.err == nil {
				begun := time.Now()
				k.err = k.do()
				if record.Load() {
					k.seen.add(time.Since(begun))
				}
			}
		})
	}
	wait(warm)
	before, err := s.reading()
	record.Store(true)
	begun := time.Now()
	wait(measure)
	record.Store(false)
	took := time.Since(begun)
	after, err2 := s.reading()
	stop.Store(true)
	running.Wait()
	err = errors.Join(err, err2)
	var all histogram
	var answers float64
	for _, k := range workers {
		err = errors.Join(err, k.err)
		all.merge(&k.seen)
		if c, is := k.speaker.(*client); is {
			answers += float64(c.largest) / float64(n)
		}
		if k.err == nil {
			err = errors.Join(err, k.leave())
		}
	}
	if err == nil && all.count == 0 {
		err = errors.New("no answer in time")
	}
	if err != nil {
		return sample{}, fmt.Errorf("%s, %s at %d: %w", s.name, w.name, n, err)
	}
	ops := float64(all.count)
	r := sample{
		Ops: all.count, Rate: ops / took.Seconds(),
		P50: microseconds(all.quantile(.5)), P99: microseconds(all.quantile(.99)), P999: microseconds(all.quantile(.999)),
		CPU: microseconds(after.server.cpu-before.server.cpu) / ops, Written: float64(after.device-before.device) / ops, Dirtied: float64(after.server.written-before.server.written) / ops,
		Syncs: float64(after.groups-before.groups) / ops, TPM: microseconds(after.beside-before.beside) / ops,
		Resident: float64(after.resident) / (1 << 20), Answer: answers,
	}
	if c, is := workers[0].speaker.(*client); is {
		r.Request = float64(len(c.messages[0].frame))
	}
	return r, nil
}

// workers dials all clients, some at a time.
func (s *subject) workers(w workload, n int) ([]*worker, error) {
	all := make([]*worker, n)
	errs := make([]error, n)
	var dialing sync.WaitGroup
	room := make(chan struct{}, 8)
	for i := range all {
		dialing.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			all[i] = &worker{}
			all[i].speaker, errs[i] = s.dial(w, i)
		})
	}
	dialing.Wait()
	if err := errors.Join(errs...); err != nil {
		for i, k := range all {
			if errs[i] == nil {
				k.leave()
			}
		}
		return nil, err
	}
	return all, nil
}

// reading is what counters say at a moment.
type reading struct {
	server   usage
	beside   time.Duration
	groups   uint64
	resident uint64
	device   uint64
}

func (s *subject) reading() (r reading, err error) {
	if s.groups != nil {
		if r.groups, err = s.groups(); err != nil {
			return r, err
		}
	}
	if s.beside != 0 {
		u, err := usageOf(s.beside)
		if err != nil {
			return r, err
		}
		r.beside = u.cpu
	}
	if r.resident, err = residentBytes(s.pid); err != nil {
		return r, err
	}
	if r.device, err = deviceBytes(os.TempDir()); err != nil {
		return r, err
	}
	r.server, err = usageOf(s.pid)
	return r, err
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// wait lets time pass while others work.
func wait(d time.Duration) { <-time.After(d) }
