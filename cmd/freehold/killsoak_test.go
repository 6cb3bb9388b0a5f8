package main

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// client is a machine without a TPM that asks for one copy more each time.
type client struct {
	key    ed25519.PrivateKey
	box    *ecdh.PrivateKey
	host   hostid.ID
	has    capability.Response // the last response applied
	number uint64
}

func newClient() (*client, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	box, err := ecdh.X25519().GenerateKey(rand.Reader)
	return &client{key: key, box: box, host: hostid.OfDigest(hostid.DeviceKey, wire.DeviceOf(public))}, err
}

// ask is the file of its next request.
func (c *client) ask(trust *wire.Trust, id capability.ActivationID) ([]byte, error) {
	codec := wire.New()
	c.number++
	r := &capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{c.host}, Number: c.number, Epoch: 1, Life: capability.LifeID{1}, Producer: codec.Fingerprint(trust.Root),
		Applied: c.has.Serial, BookHead: c.has.BookHead, Desired: []capability.Desired{{ActivationID: id, Count: uint32(c.number)}}}
	binary.BigEndian.PutUint64(r.Correlation[:], c.number)
	file, _, err := codec.SignRequest(r, wire.AlgEd25519, wire.DeviceKeyID(c.key.Public().(ed25519.PublicKey)), func(d capability.Digest) ([]byte, error) {
		return wire.SignAsDevice(c.key, c.box.PublicKey(), d), nil
	})
	return file, err
}

// apply reads a response as the machine does: it must be the next one, and give one copy more.
func (c *client) apply(trust *wire.Trust, file []byte) error {
	codec := wire.New()
	s, err := codec.ReadResponse(file)
	if err != nil {
		return err
	}
	if _, _, err := codec.Verify(trust, s); err != nil {
		return err
	}
	key, err := wire.UnwrapAsDevice(c.box, wire.DeviceOf(c.key.Public().(ed25519.PublicKey)), s.Wrap)
	if err != nil {
		return err
	}
	r, err := codec.Open(s, key)
	if err != nil {
		return err
	}
	if r.Serial != c.has.Serial+1 || r.Serial != c.number || len(r.Items) != 1 || r.Items[0].Copies != uint32(c.number) {
		return fmt.Errorf("response %d to request %d gives %+v, the one before was %d", r.Serial, c.number, r.Items, c.has.Serial)
	}
	c.has = *r
	return nil
}

// TestSoakKillOffice kills freehold with SIGKILL at random moments of its answers, also before it has begun and after it has ended, and lets it run again. After each kill the same request
// is answered by the next run, with the bytes that were there already if they were; every machine is given one copy for each of its requests and not one more; and the book is what all
// its entries make. One case is one kill.
func TestSoakKillOffice(t *testing.T) {
	size := storagetest.Size(t, 12, 1000, 10_000)
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, pass := filepath.Join(dir, "freehold"), filepath.Join(dir, "pass")
	place := backoffice.Dir(filepath.Join(dir, "book"))
	const words = "correct horse battery"
	if err := errors.Join(os.Symlink(self, program), os.WriteFile(pass, []byte(words), 0o600)); err != nil { // the test binary is the program, by its name
		t.Fatal(err)
	}
	policy := entitlement.DefaultPolicy("Example Software")
	policy.MinimumTier = entitlement.Software
	trust, err := backoffice.Create(place, []byte(words), backoffice.Setup{Policy: policy, KeyName: "A", Cost: backoffice.Cost{Passes: 1, Memory: 64, Threads: 1}}, now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var id capability.ActivationID
	look := func(f func(o *backoffice.Office) error) {
		t.Helper()
		o, err := backoffice.Open(place, []byte(words), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f(o), o.Close()); err != nil {
			t.Fatal(err)
		}
	}
	look(func(o *backoffice.Office) error {
		v, err := o.Entitle(entitlement.Item{Customer: "ACME", Product: "Render", Copies: 1 << 20, Features: []entitlement.Feature{{Name: "render", PerCopy: 1}}}, "operator", now())
		id = v.ActivationID
		return err
	})
	clients := make([]*client, 4)
	for i := range clients {
		if clients[i], err = newClient(); err != nil {
			t.Fatal(err)
		}
	}
	chance := mathrand.New(mathrand.NewPCG(uint64(time.Now().UnixNano()), 1))
	usual := time.Second // that an answer takes, as it was measured last
	tried, written, early, told := 0, 0, 0, 0
	defer func() { storagetest.Tried(t, tried, 0) }()
	for ; tried < size; tried++ {
		c := clients[tried%len(clients)]
		request, out := filepath.Join(dir, "REQ.LHQ"), filepath.Join(dir, fmt.Sprint("out", tried%len(clients)))
		file, err := c.ask(trust, id)
		if err := errors.Join(err, os.WriteFile(request, file, 0o600), os.RemoveAll(out)); err != nil {
			t.Fatal(err)
		}
		response := filepath.Join(out, capability.FileName("RSP", c.number, "LHR"))
		run := func() *exec.Cmd {
			return exec.Command(program, "respond", request, "-o", out, "--dir", filepath.Join(dir, "book"), "--passphrase-file", pass)
		}
		first := run()
		if err := first.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(time.Duration(chance.Int64N(int64(usual)*6/5)), func() { first.Process.Kill() })
		first.Wait()
		kill.Stop()
		before, err := os.ReadFile(response)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		kept, err := filepath.Glob(filepath.Join(dir, "book", "responses", "*.lhr"))
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case before != nil:
			told++
		case len(kept) > tried:
			written++
		default:
			early++
		}
		began := time.Now()
		if said, err := run().CombinedOutput(); err != nil {
			t.Fatalf("kill %d, the next run: %v\n%s", tried, err, said)
		}
		usual = time.Since(began)
		after, err := os.ReadFile(response)
		if err != nil {
			t.Fatalf("kill %d: %v", tried, err)
		}
		if before != nil && !bytes.Equal(before, after) {
			t.Fatalf("kill %d: the response was there, and is another one now", tried)
		}
		if err := c.apply(trust, after); err != nil {
			t.Fatalf("kill %d: %v", tried, err)
		}
		if tried%100 != 99 && tried != size-1 {
			continue
		}
		look(func(o *backoffice.Office) error {
			want := uint32(0)
			for _, c := range clients {
				want += uint32(c.number)
			}
			v, _ := o.Book().Item(id, now())
			n, err := o.Verify()
			if err == nil && (v.Used != want || n != uint64(tried)+3) {
				err = fmt.Errorf("%d copies are used and %d entries written after %d answers; the machines have %d", v.Used, n, tried+1, want)
			}
			return err
		})
	}
	t.Logf("%d kills: %d before the response was on the disk, %d between it and the outbox, %d after", tried, early, written, told)
}
