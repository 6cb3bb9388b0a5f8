package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/capabilitytest"
	"github.com/leasehold/leasehold/capability/client"
)

// A list of servers, of which the first cannot be reached and the second is another producer's: the third serves, and the client knows why.
func ExampleClient_Passed() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	capabilitytest.Example(func(other *capabilitytest.Appliance) {
		capabilitytest.Example(func(a *capabilitytest.Appliance) {
			c, err := client.New(client.Options{Servers: []string{"127.0.0.1:1", other.Server(), a.Server()}, Trust: a.Trust(), Dir: dir})
			if err != nil {
				log.Fatal(err)
			}
			defer c.Close()
			lease, err := c.Acquire(context.Background(), "render")
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println("holds", lease.Count())
			for i, p := range c.Passed() {
				fmt.Println(i+1, errors.Is(p.Err, client.ErrServerUnreachable), errors.Is(p.Err, client.ErrServerUnproven))
			}
		}, capabilitytest.Item("render", 2))
	}, capabilitytest.Item("render", 2))
	// Output:
	// holds 1
	// 1 true false
	// 2 false true
}

// A refusal has the facts, for a program that shows them in its own words. Who holds what is there as far as the producer lets others see it.
func ExampleClient_Acquire() {
	with(func(ctx context.Context, c *client.Client) error {
		_, err := c.Acquire(ctx, "render:2026.1", client.Count(3))
		var no *capability.Refusal
		if !errors.As(err, &no) {
			return err
		}
		fmt.Println(no.Code, errors.Is(err, client.ErrNoSeat))
		fmt.Println(no.Asked, "asked,", no.Available, "free,", no.Total, "in all")
		fmt.Println("next:", no.Code.Entry().Next)
		return nil
	})
	// Output:
	// LH-3104 true
	// 3 asked, 2 free, 2 in all
	// next: leasehold devices, to see who holds them
}

// Less will do.
func ExamplePartial() {
	with(func(ctx context.Context, c *client.Client) error {
		for range 2 {
			lease, err := c.Acquire(ctx, "render", client.Count(5), client.Partial())
			if err != nil {
				fmt.Println(errors.Is(err, client.ErrNoSeat))
				continue
			}
			fmt.Println("holds", lease.Count())
		}
		return nil
	})
	// Output:
	// holds 2
	// true
}

// A notebook takes a seat along, for three days and then for longer than the producer allows, and gives it back early.
func ExampleBorrow() {
	with(func(ctx context.Context, c *client.Client) error {
		for _, days := range []time.Duration{3, 30} {
			lease, err := c.Acquire(ctx, "travel", client.Borrow(days*24*time.Hour), client.Keep())
			if err != nil {
				return err
			}
			fmt.Println("without asking again for", time.Until(lease.Expiry()).Round(time.Hour))
		}
		return c.Release(ctx, "travel")
	})
	// Output:
	// without asking again for 72h0m0s
	// without asking again for 168h0m0s
}

// What is kept is the device's when the program has ended, until a program of it gives it back.
func ExampleKeep() {
	with(func(ctx context.Context, c *client.Client) error {
		if _, err := c.Acquire(ctx, "render", client.Keep()); err != nil {
			return err
		}
		held, err := c.Held(ctx)
		if err != nil {
			return err
		}
		fmt.Println(held[0].Feature, held[0].Count)
		return c.Release(ctx, "render")
	})
	// Output: render 1
}

// The seat of somebody who ends his program is that of the one who waits.
func ExampleWait() {
	with(func(ctx context.Context, c *client.Client) error {
		all, err := c.Acquire(ctx, "render", client.Count(2))
		if err != nil {
			return err
		}
		time.AfterFunc(100*time.Millisecond, func() { all.Release(ctx) })
		one, err := c.Acquire(ctx, "render", client.Wait(time.Minute))
		if err != nil {
			return err
		}
		fmt.Println("holds", one.Count())
		return nil
	})
	// Output: holds 1
}

// The clock of a machine is believed unless it is behind a time that was seen here before.
func ExampleClient_Clock() {
	with(func(ctx context.Context, c *client.Client) error {
		state, err := c.Clock(ctx)
		fmt.Println(state)
		return err
	})
	// Output: trusted
}
