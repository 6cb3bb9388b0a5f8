package backoffice

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// A hundred operators answer requests, repeat them, map and entitle at once: never more copies are given or mapped than there are, what was answered stays answered with the same bytes, and one
// key is one line item.
func TestOperators(t *testing.T) {
	p, o := newOffice(t, func(s *Setup) { s.Policy.MinimumTier = entitlement.Software })
	const operators, each, copies = 100, 3, 120 // 300 are wanted
	scarce, sought := entitle(t, o, copies), entitle(t, o, operators/2)
	machines, requests := make([]*workstation, operators), make([][]byte, operators)
	for n := range machines {
		machines[n] = newWorkstation(t)
		requests[n] = machines[n].request(o, scarce, each, func(r *capability.Request) {
			r.Desired[0].Partial = n%2 == 0
			r.Correlation[1] = byte(n + 1)
		})
	}
	d := NewDesk(o)
	var all sync.WaitGroup
	var given, short, mapped atomic.Int64
	drawn := make([]capability.ActivationID, operators)
	for n := range operators {
		all.Go(func() {
			var first *Result
			for range 3 {
				err := d.Ask(func(o *Office) error {
					res, err := o.Respond(requests[n], "", fmt.Sprint("operator ", n), today)
					if err != nil {
						return err
					}
					if first == nil {
						first = res
					} else if string(first.File) != string(res.File) {
						t.Errorf("operator %d was told other bytes", n)
					}
					return nil
				})
				if err != nil {
					t.Errorf("operator %d: %v", n, err)
				}
			}
			if len(first.Items) == 1 {
				given.Add(int64(first.Items[0].Count))
			}
			if len(first.Lines) == 1 && first.Lines[0].Denial.Code != 0 {
				short.Add(1)
			}
			err := d.Ask(func(o *Office) error {
				return o.Do(entitlement.Map{Device: machines[n].host(), ActivationID: sought, Copies: 1, By: fmt.Sprint("operator ", n)}, today)
			})
			if err == nil {
				mapped.Add(1)
			} else if Code(err) != capability.ErrTooFew {
				t.Errorf("operator %d maps: %v", n, err)
			}
			if err := d.Ask(func(o *Office) error {
				o.Once(fmt.Sprint("order ", n%10), capability.Digest{1})
				v, err := o.Entitle(entitlement.Item{Customer: "ACME Works", Product: "Render Pro", Copies: 1, Features: []entitlement.Feature{{Name: "render", PerCopy: 1}}}, "operator", today)
				drawn[n] = v.ActivationID
				return err
			}); err != nil {
				t.Errorf("operator %d: %v", n, err)
			}
		})
	}
	all.Wait()
	for n, id := range drawn {
		if id != drawn[n%10] || id == "" {
			t.Errorf("operator %d was told of %q, and operator %d of %q", n, id, n%10, drawn[n%10])
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Ask(func(*Office) error { t.Error("done after the end"); return nil }), d.Close()); !errors.Is(err, ErrEnded) {
		t.Errorf("after the end: %v", err)
	}
	again := mustOpen(t, p, rand.Reader)
	defer again.Close()
	v, _ := again.Book().Item(scarce, today)
	if given.Load() != int64(v.Used) || v.Used != copies || v.Left != 0 || short.Load() < operators-copies/each-1 {
		t.Errorf("%d copies were given, %d are used, %d left; %d machines were given less", given.Load(), v.Used, v.Left, short.Load())
	}
	if v, _ := again.Book().Item(sought, today); mapped.Load() != operators/2 || v.Reserved != operators/2 || v.Left != 0 {
		t.Errorf("%d copies were mapped, %d are reserved, %d left", mapped.Load(), v.Reserved, v.Left)
	}
	if items, hosts := again.Book().Size(); items != 12 || hosts != operators {
		t.Errorf("%d items and %d hosts", items, hosts)
	}
	verify(t, again, "after the operators", 1+2+operators+operators/2+10)
}

// A write that fails is told to who serves the desk, once: nothing can be written after it, and until the back office is opened again nobody knows what is in the book.
func TestDeskSaysThatAWriteFailed(t *testing.T) {
	told := 0
	for n := 0; ; n++ {
		m := storagetest.New(1)
		p := simulated(m)
		if _, err := Create(p, passphrase(), setup(t), today, m); err != nil {
			t.Fatal(err)
		}
		d := NewDesk(mustOpen(t, p, m))
		entitles := func() error {
			return d.Ask(func(o *Office) error { _, err := o.Entitle(anItem(), "operator", today); return err })
		}
		m.Plan(storagetest.At(n, storagetest.Broken()))
		first := entitles()
		done := len(m.Calls()) <= n
		m.Plan(nil)
		again := entitles()
		select {
		case err := <-d.Failed():
			if told++; err == nil || first == nil || again == nil {
				t.Errorf("step %d: %v is told after %v and %v", n, err, first, again)
			}
		default:
			if again != nil {
				t.Errorf("step %d: %v, and nobody is told", n, again)
			}
		}
		select {
		case err := <-d.Failed():
			t.Errorf("step %d: told once more: %v", n, err)
		default:
		}
		d.Close()
		if done {
			break
		}
	}
	if told == 0 {
		t.Error("no write failed")
	}
}

// A key is of what was asked under it, and not of what somebody else asks next.
func TestKeyEndsWithItsAsk(t *testing.T) {
	_, o := newOffice(t, nil)
	d := NewDesk(o)
	for _, key := range []string{"k", "", ""} {
		if err := d.Ask(func(o *Office) error {
			if key != "" {
				o.Once(key, capability.Digest{1})
				o.Through("operator", entitlement.TokenUsed{Name: "nightly"})
			}
			_, err := o.Entitle(anItem(), "operator", today)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	items, marked, through := 0, 0, 0
	if err := d.Ask(func(o *Office) error {
		items, _ = o.Book().Size()
		return o.History(1, func(_ uint64, e *entitlement.Entry) error {
			if e.Once != nil {
				marked++
			}
			if e.Token != nil {
				through++
			}
			return nil
		})
	}); err != nil || items != 3 || marked != 1 || through != 1 {
		t.Errorf("%d items, %d under a key, %d through a token, %v", items, marked, through, err)
	}
}
