package capabilitytest

import (
	"sync"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/client"
)

// What a test does to an appliance it may do from anywhere, while programs use it; a restart forgets nothing that was answered.
func TestManyAtOnce(t *testing.T) {
	a := New(t, Item("render", 100))
	c, err := client.New(client.Options{Trust: a.Trust(), Dir: t.TempDir(), Dial: a.Dial})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	items := []capability.LineItem{Item("render", 100)}
	const times = 5
	var all sync.WaitGroup
	var held uint64
	for _, do := range []func(){
		a.Restart,
		func() { a.Used("render") },
		func() { a.Holders("render") },
		func() { a.SetPolicy(capability.DefaultPolicy()) },
		func() { a.Provision(items...) },
		func() { a.Copy() },
		func() { a.Server() },
		func() {
			if _, err := c.Acquire(t.Context(), "render"); err == nil {
				held++
			}
		},
	} {
		all.Go(func() {
			for range times {
				do()
			}
		})
	}
	all.Wait()
	if n := a.Used("render"); n < held {
		t.Errorf("%d are booked where %d were granted", n, held)
	}
}

// Down and Up, and a connection that is refused.
func TestDown(t *testing.T) {
	a := New(t)
	for _, down := range []bool{false, true, false} {
		if a.Up(); down {
			a.Down()
		}
		conn, err := a.Dial(t.Context(), "")
		if (err != nil) != down {
			t.Errorf("down %t: %v", down, err)
		}
		if err == nil {
			conn.Close()
		}
	}
}
