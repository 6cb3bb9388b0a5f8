package client

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/capabilitytest"
)

func metered(feature string, count uint32, reusable bool) capability.LineItem {
	it := capabilitytest.Item(feature, count)
	it.Metered, it.Reusable, it.UndoInterval = true, reusable, 600
	return it
}

func TestReportAndUndo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &cable{a: capabilitytest.New(t, metered("hours", 10, false), metered("slots", 10, true), capabilitytest.Item("render", 2)), left: -1}
		dir := t.TempDir()
		c, second := w.client(t, dir, "ws-1"), w.client(t, dir, "ws-1")
		defer c.Close()
		defer second.Close()
		ctx := t.Context()
		expect := func(hours, slots uint64) {
			t.Helper()
			if h, s := w.a.Used("hours"), w.a.Used("slots"); h != hours || s != slots {
				t.Fatalf("%d hours and %d slots are used, want %d and %d", h, s, hours, slots)
			}
		}
		report := func(c *Client, feature string, n int64, total uint32) Usage {
			t.Helper()
			u, err := c.Report(ctx, feature, n)
			if err != nil || u.Total != total || u.ID == (capability.CorrelationID{}) {
				t.Fatalf("report of %d: %+v, %v; want %d in all", n, u, err, total)
			}
			return u
		}
		l, err := c.Acquire(ctx, "render")
		if err != nil {
			t.Fatal(err)
		}
		report(c, "hours", 3, 3)
		report(second, "hours", 2, 5) // what the programs of a device use adds up
		report(c, "slots", 4, 4)
		report(second, "slots", -1, 3)
		expect(5, 3)
		if _, err := c.Report(ctx, "hours", 6); !errors.Is(err, ErrNoSeat) {
			t.Errorf("eleven of ten: %v", err)
		}
		expect(5, 3)
		<-time.After(time.Hour) // renewals leave it alone
		if l.Err() != nil {
			t.Error(l.Err())
		}
		expect(5, 3)

		u := report(c, "hours", 2, 7)
		if err := second.Undo(ctx, u.ID); err != nil {
			t.Fatal(err)
		}
		expect(5, 3)
		if err := c.Undo(ctx, u.ID); !errors.Is(err, ErrUndo) {
			t.Errorf("undone twice: %v", err)
		}
		report(c, "hours", 1, 6)
		u = report(c, "hours", 1, 7)
		<-time.After(11 * time.Minute)
		if err := c.Undo(ctx, u.ID); !errors.Is(err, ErrUndo) {
			t.Errorf("undone after its interval: %v", err)
		}
		expect(7, 3)
		// What is lost here the appliance knows.
		if err := os.Remove(dir + "/" + stateFile); err != nil {
			t.Fatal(err)
		}
		report(c, "hours", 1, 8)
		for _, wrong := range []int64{0, capability.MaxCount + 1, -capability.MaxCount - 1, -9} {
			if u, err := c.Report(ctx, "hours", wrong); err == nil {
				t.Errorf("a report of %d is taken: %+v", wrong, u)
			}
		}
		expect(8, 3)
	})
}

// A report counts once, wherever the exchange breaks, and not at all where nothing was sent; so does an undo.
func TestReportLostAtEveryPoint(t *testing.T) {
	for _, how := range fates[:3] {
		for at, broke := 0, true; broke; at++ {
			synctest.Test(t, func(t *testing.T) {
				w := &cable{a: capabilitytest.New(t, metered("hours", 10, false)), left: -1}
				c := w.client(t, t.TempDir(), "ws-1")
				defer c.Close()
				if _, err := c.Report(t.Context(), "hours", 2); err != nil {
					t.Fatal(err)
				}
				w.arm(at, how)
				u, err := c.Report(t.Context(), "hours", 3)
				broke = w.arm(-1, "")
				want := uint64(2)
				if u.ID != (capability.CorrelationID{}) {
					want = 5
				} else if err == nil {
					t.Fatalf("%s at %d: neither a report nor an error", how, at)
				}
				<-time.After(time.Minute) // it is sent again without being told to
				synctest.Wait()
				if n := w.a.Used("hours"); n != want {
					t.Fatalf("%s at %d: %d hours are counted, want %d; %v", how, at, n, want, err)
				}
				if want == 2 {
					return
				}
				w.arm(at, how)
				c.Undo(t.Context(), u.ID)
				w.arm(-1, "")
				<-time.After(time.Minute)
				synctest.Wait()
				if n := w.a.Used("hours"); n != 2 {
					t.Fatalf("%s at %d: %d hours are counted after the undo", how, at, n)
				}
				if u, err := c.Report(t.Context(), "hours", 1); err != nil || u.Total != 3 {
					t.Errorf("%s at %d: the next report is %+v, %v", how, at, u, err)
				}
			})
		}
	}
}

// Nothing is sent where no server is reached.
func TestReportWithoutAServer(t *testing.T) {
	a := capabilitytest.New(t, metered("hours", 10, false))
	c, err := New(Options{Trust: a.Trust(), Dir: t.TempDir(), Dial: func(context.Context, string) (net.Conn, error) { return nil, errCut }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if u, err := c.Report(t.Context(), "hours", 1); !errors.Is(err, ErrServerUnreachable) || u != (Usage{}) {
		t.Errorf("%+v, %v", u, err)
	}
	if err := c.Undo(t.Context(), capability.CorrelationID{1}); !errors.Is(err, ErrServerUnreachable) {
		t.Error(err)
	}
}
