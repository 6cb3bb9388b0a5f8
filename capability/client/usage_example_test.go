package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/capabilitytest"
	"github.com/leasehold/leasehold/capability/client"
)

// with runs an example with a client of an appliance that has two counts of render, two of travel that may be borrowed for a week, and 100 pages to be used up.
func with(f func(ctx context.Context, c *client.Client) error) {
	pages := capabilitytest.Item("pages", 100)
	pages.Metered, pages.UndoInterval = true, 600
	travel := capabilitytest.Item("travel", 2)
	travel.Borrow = 7 * 24 * 60 * 60
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	capabilitytest.Example(func(a *capabilitytest.Appliance) {
		c, err := client.New(client.Options{Server: a.Server(), Trust: a.Trust(), Dir: dir})
		if err == nil {
			err = errors.Join(f(context.Background(), c), c.Close())
		}
		if err != nil {
			log.Fatal(err)
		}
	}, capabilitytest.Item("render:2026.1", 2), travel, pages)
}

// What was used adds up over all programs of the device; a report that was a mistake can be taken back for a while.
func ExampleClient_Report() {
	with(func(ctx context.Context, c *client.Client) error {
		if _, err := c.Report(ctx, "pages", 12); err != nil {
			return err
		}
		u, err := c.Report(ctx, "pages", 3)
		if err != nil {
			return err
		}
		fmt.Println("used in all:", u.Total)
		_, err = c.Report(ctx, "pages", 1000)
		fmt.Println("a thousand more:", errors.Is(err, client.ErrNoSeat))
		return nil
	})
	// Output:
	// used in all: 15
	// a thousand more: true
}

func ExampleClient_Undo() {
	with(func(ctx context.Context, c *client.Client) error {
		u, err := c.Report(ctx, "pages", 12)
		if err != nil {
			return err
		}
		if err := c.Undo(ctx, u.ID); err != nil {
			return err
		}
		fmt.Println("again:", errors.Is(c.Undo(ctx, u.ID), client.ErrUndo))
		return nil
	})
	// Output: again: true
}

// Preview says what Acquire would get, and takes nothing.
func ExampleClient_Preview() {
	with(func(ctx context.Context, c *client.Client) error {
		for _, n := range []uint32{2, 3} {
			line, err := c.Preview(ctx, "render", client.Count(n))
			var no *capability.Refusal
			if errors.As(err, &no) {
				fmt.Printf("%d: refused, and %d could be had\n", n, no.Available)
				continue
			} else if err != nil {
				return err
			}
			fmt.Printf("%d: would get %d\n", n, line.Count)
		}
		return nil
	})
	// Output:
	// 2: would get 2
	// 3: refused, and 2 could be had
}
