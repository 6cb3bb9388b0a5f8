package main

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/leasehold/leasehold/appliance/console"
)

const pollingFile = "polling.json" // in the state directory: no right follows from it, and without it nothing is lost but what status says

// polled reads since when the back office is not reached, as the run before left it; what cannot be read is not known.
func polled(state string) (times console.PollTimes) {
	b, err := os.ReadFile(filepath.Join(state, pollingFile))
	if err != nil || json.Unmarshal(b, &times) != nil || times.Reached < 0 || times.Since < 0 {
		return console.PollTimes{}
	}
	return times
}

// keepPolled writes it for the next run.
func keepPolled(state string, times console.PollTimes) error {
	b, err := json.Marshal(times)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(state, pollingFile), b)
}
