package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/leasehold/leasehold/capability/wire"
)

// attack is one flood. It is a process of its own, so that its work is not taken for the honest clients'.
type attack struct {
	address string
	n       int // connections at once; of malformed frames: how many in all
	codec   *wire.Codec

	mu sync.Mutex
	outcome
}

// outcome is what an attack did and saw.
type outcome struct {
	Kind     string         `json:"kind"`
	Tried    int            `json:"tried"`
	Opened   int            `json:"opened"`                           // handshakes that were finished, or raw connections where there is none
	AtOnce   int            `json:"atOnce"`                           // the most that it had at a time
	Seconds  float64        `json:"seconds"`                          //
	Families int            `json:"families,omitempty"`               // of malformed frames
	Pages    int            `json:"pages,omitempty"`                  // that browsers had, refusals for want of room among them
	Oldest   float64        `json:"longestHalfOpenSeconds,omitempty"` // as seen here, with the time in which the machine was busy
	Wrong    []string       `json:"wrong,omitempty"`
	Seen     map[string]int `json:"seen,omitempty"` // what came back behind TLS, in hex, and how often
	Raw      map[string]int `json:"raw,omitempty"`  // and before it

	open int
}

// sources is how many addresses a flood comes from.
const sources = 40

// startAttack runs this program as an attacker. What it gives waits for the outcome.
func startAttack(kind, address string, n int, lasts time.Duration) (func() (*outcome, error), error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// Elsewhere it would have a processor of its own; here it must not starve those whom it attacks.
	c := exec.Command("nice", "-n", "10", self, "attack", kind, address, strconv.Itoa(n), lasts.String())
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, said strings.Builder
	c.Stdout, c.Stderr = &out, &said
	if err := c.Start(); err != nil {
		return nil, err
	}
	return func() (*outcome, error) {
		if err := c.Wait(); err != nil {
			return nil, fmt.Errorf("attack %s: %w: %s", kind, err, &said)
		}
		var o outcome
		return &o, json.Unmarshal([]byte(out.String()), &o)
	}, nil
}

// attackMain is such a process: attack KIND ADDRESS N DURATION.
func attackMain(args []string, out io.Writer) error {
	if len(args) != 4 {
		return errors.New("attack KIND ADDRESS N DURATION")
	}
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	lasts, err := time.ParseDuration(args[3])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lasts)
	defer cancel()
	a := &attack{address: args[1], n: n, codec: wire.New(), outcome: outcome{Kind: args[0], Seen: map[string]int{}, Raw: map[string]int{}}}
	begun := time.Now()
	switch args[0] {
	case "live":
		a.many(ctx, n, time.Second, a.live)
	case "half-open":
		a.many(ctx, n, time.Second, a.halfOpen)
	case "slowloris":
		a.many(ctx, n, time.Second, a.slow)
	case "browsers":
		a.many(ctx, n, 0, a.browse)
	case "connections":
		a.many(ctx, 32, 0, a.comeAndGo)
	case "malformed":
		a.malformed(ctx)
	default:
		return fmt.Errorf("no attack is called %q", args[0])
	}
	a.Seconds = time.Since(begun).Seconds()
	return json.NewEncoder(out).Encode(&a.outcome)
}

// many keeps n of one kind busy until ctx ends. One that ended begins again after a pause.
func (a *attack) many(ctx context.Context, n int, pause time.Duration, one func(ctx context.Context, d *device, i int)) {
	var running sync.WaitGroup
	var d *device
	for i := range n {
		if i%32 == 0 { // connections of one key, each
			var err error
			if d, err = newDevice(a.address, nil); err != nil {
				a.wrong(err.Error())
				break
			}
		}
		mine := *d
		mine.from = net.IPv4(127, 1, byte(i%sources/8), byte(1+i%8))
		running.Go(func() {
			for ctx.Err() == nil {
				one(ctx, &mine, i)
				if pause > 0 && ctx.Err() == nil {
					select {
					case <-time.After(pause):
					case <-ctx.Done():
					}
				}
			}
		})
	}
	running.Wait()
}

func (a *attack) tried() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Tried++
}

func (a *attack) opened(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open += n; n > 0 {
		a.Opened++
		a.AtOnce = max(a.AtOnce, a.open)
	}
}

func (a *attack) wrong(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.Wrong) < 20 {
		a.Wrong = append(a.Wrong, what)
	}
}

// saw notes what a stranger was told.
func (a *attack) saw(where map[string]int, b []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(where) < 100 {
		where[hex.EncodeToString(b[:min(len(b), 300)])]++
	}
}

// live connects as a client does, asks for the chain, which any client may, and stays.
func (a *attack) live(ctx context.Context, d *device, _ int) {
	a.tried()
	conn, err := d.connect(20 * time.Second)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.NetConn().Close() })()
	if err := errors.Join(conn.SetDeadline(time.Time{})); err != nil {
		return
	}
	if _, err := conn.Write(a.codec.Ask()); err != nil {
		return
	}
	if _, _, err := a.codec.ReadFrame(conn); err != nil {
		return
	}
	a.opened(1)
	defer a.opened(-1)
	var b [1]byte
	conn.Read(b[:])
}

// aged notes how long a half-open connection was kept.
func (a *attack) aged(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Oldest = max(a.Oldest, d.Seconds())
}

// halfOpen connects and says nothing, or the beginning of a TLS record.
func (a *attack) halfOpen(ctx context.Context, d *device, i int) {
	a.tried()
	a.half(ctx, d, func(raw net.Conn) {
		if i%2 == 1 {
			raw.Write([]byte{0x16, 3, 1, 2, 0, 1})
		}
		b, _ := io.ReadAll(raw)
		a.saw(a.Raw, b)
	})
}

// half is a connection whose handshake never ends, until the server or ctx ends it.
func (a *attack) half(ctx context.Context, d *device, say func(raw net.Conn)) {
	raw, err := dial(a.address, d.from, 20*time.Second)
	if err != nil {
		return
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	begun := time.Now()
	a.opened(1)
	defer a.opened(-1)
	say(raw)
	if ctx.Err() == nil {
		a.aged(time.Since(begun))
	}
}

// slow says a byte now and then: of a handshake, or of a frame.
func (a *attack) slow(ctx context.Context, d *device, i int) {
	a.tried()
	if i%2 == 0 {
		a.half(ctx, d, func(raw net.Conn) {
			drip(ctx, raw, append([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, make([]byte, 505)...))
		})
		return
	}
	conn, err := d.connect(20 * time.Second)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.NetConn().Close() })()
	a.opened(1)
	defer a.opened(-1)
	if conn.SetDeadline(time.Time{}) != nil {
		return
	}
	drip(ctx, conn, a.codec.Frame(wire.MessageRequest, request()))
	if b, err := io.ReadAll(conn); err == nil {
		a.saw(a.Seen, b)
	}
}

// drip writes a byte five times a second until it is not taken any more.
func drip(ctx context.Context, to net.Conn, b []byte) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for i := range b {
		if _, err := to.Write(b[i : i+1]); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// comeAndGo makes a whole handshake and leaves.
func (a *attack) comeAndGo(_ context.Context, d *device, _ int) {
	a.tried()
	conn, err := d.connect(20 * time.Second)
	if err != nil {
		return
	}
	a.opened(1)
	a.opened(-1)
	conn.Close()
}

// browse asks for a page again and again, as no browser does, until the connection ends.
func (a *attack) browse(ctx context.Context, d *device, _ int) {
	a.tried()
	raw, err := dial(a.address, d.from, 20*time.Second)
	if err != nil {
		return
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err := errors.Join(conn.SetDeadline(time.Now().Add(20*time.Second)), conn.Handshake()); err != nil {
		return
	}
	a.opened(1)
	defer a.opened(-1)
	in := bufio.NewReader(conn)
	for ctx.Err() == nil && conn.SetDeadline(time.Now().Add(20*time.Second)) == nil {
		if _, err := fmt.Fprintf(conn, "GET /sign-in HTTP/1.1\r\nHost: %s\r\n\r\n", a.address); err != nil {
			return
		}
		page, err := http.ReadResponse(in, nil)
		if err != nil {
			return
		}
		_, err = io.Copy(io.Discard, page.Body)
		if err != nil {
			return
		}
		a.paged()
	}
}

func (a *attack) paged() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Pages++
}

// malformed sends n frames, each over a connection of its own because the server ends it, from every family in turn.
func (a *attack) malformed(ctx context.Context) {
	all := families(a.codec)
	a.Families = len(all)
	next := make(chan int)
	go func() {
		defer close(next)
		for i := range a.n {
			select {
			case next <- i:
			case <-ctx.Done():
				return
			}
		}
	}()
	a.many(ctx, 32, 0, func(ctx context.Context, d *device, worker int) {
		r := rand.New(rand.NewPCG(uint64(worker), 1))
		for i := range next {
			f := all[i%len(all)]
			b := f.make(r, i/len(all))
			for try := 0; !refusable(a.codec, b) && try < 1000; try++ { // a flipped bit, or two like bytes exchanged, may make another good request
				b = f.make(r, i/len(all)+try+1)
			}
			if !refusable(a.codec, b) {
				a.wrong(f.name + " made a message that is none of it")
				continue
			}
			for ctx.Err() == nil && !a.refusedOnce(d, b) {
			}
		}
		<-ctx.Done()
	})
}

// refusedOnce sends one malformed frame and notes what comes back. False: the connection did not come about.
func (a *attack) refusedOnce(d *device, b []byte) bool {
	conn, err := d.connect(20 * time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	a.opened(1)
	defer a.opened(-1)
	_, err = conn.Write(b)
	if err == nil {
		err = conn.CloseWrite()
	}
	back, readErr := io.ReadAll(conn)
	if len(back) == 0 && errors.Join(err, readErr) != nil {
		return false // cut before it was read: another came in
	}
	a.tried()
	a.saw(a.Seen, back)
	return true
}
