package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// micro is one benchmark as go test printed it; of several runs the median.
type micro struct {
	Name    string             `json:"name"`
	Figures map[string]float64 `json:"figures"` // by unit: ns/op, B/op, allocs/op ...
}

// readMicro reads the output of go test -bench. No file: none were run.
func readMicro(path string) ([]micro, error) {
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseMicro(string(b))
}

func parseMicro(text string) ([]micro, error) {
	var names []string
	seen := map[string]map[string][]float64{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		name := f[0]
		if i := strings.LastIndexByte(name, '-'); i > 0 { // the number of cores
			if _, err := strconv.Atoi(name[i+1:]); err == nil {
				name = name[:i]
			}
		}
		if seen[name] == nil {
			names, seen[name] = append(names, name), map[string][]float64{}
		}
		for i := 2; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", strings.TrimSpace(line), err)
			}
			seen[name][f[i+1]] = append(seen[name][f[i+1]], v)
		}
	}
	var all []micro
	for _, name := range names {
		m := micro{name, map[string]float64{}}
		for unit, v := range seen[name] {
			m.Figures[unit] = median(v)
		}
		all = append(all, m)
	}
	return all, nil
}

// figure is one figure of one benchmark.
func (r *report) figure(benchmark, unit string) (float64, bool) {
	for _, m := range r.Micro {
		if v, has := m.Figures[unit]; has && m.Name == benchmark {
			return v, true
		}
	}
	return 0, false
}
