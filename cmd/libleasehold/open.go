package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/leasehold/leasehold/capability/client"
)

// maxArgument is how long a string of the caller may be: a list of servers or a path. It bounds what is read where the zero byte is missing.
const maxArgument = 16 << 10

// maxTrust is how long a trust bundle may be; one is of 3 kB.
const maxTrust = 1 << 20

// maxWait is how long an acquire may wait: longer is a mistake of the caller.
const maxWait = 365 * 24 * time.Hour

// errHandle is a handle that is good no more, or was none of that kind.
var errHandle = errors.New("the handle is not that of an open client or lease")

// settings are the options of a caller, in Go.
type settings struct {
	servers, trustFile, directory, user, alias, deviceType string
	trust                                                  []byte
	borrow, timeout                                        time.Duration
}

// session is a client that a caller opened, with the handles of its leases.
type session struct {
	client *client.Client

	mu     sync.Mutex
	closed bool
	leases map[uint64]struct{}
}

func open(s settings) (*session, error) {
	if s.borrow < 0 || s.timeout < 0 {
		return nil, fmt.Errorf("borrow %s and timeout %s where neither may be below zero", s.borrow, s.timeout)
	}
	o := client.Options{TrustFile: s.trustFile, Trust: s.trust, Dir: s.directory, User: s.user, Alias: s.alias, DeviceType: s.deviceType, Borrow: s.borrow, Timeout: s.timeout}
	o.Servers = strings.FieldsFunc(s.servers, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	c, err := client.New(o)
	if err != nil {
		return nil, err
	}
	return &session{client: c, leases: map[uint64]struct{}{}}, nil
}

// terms are how a caller wants a lease.
type terms struct {
	count         int64
	wait, borrow  time.Duration
	partial, keep bool
}

// acquire takes counts, and keeps the handle that give makes for the lease.
func (s *session) acquire(feature string, t terms, give func(*held) uint64) (uint64, error) {
	if t.count < 1 || t.count > int64(^uint32(0)) {
		return 0, fmt.Errorf("count %d is out of range", t.count)
	}
	if t.wait < 0 || t.wait > maxWait {
		return 0, fmt.Errorf("a wait of %s where 0 to %s are allowed", t.wait, maxWait)
	}
	options := []client.Option{client.Count(uint32(t.count)), client.Wait(t.wait), client.Borrow(t.borrow)}
	if t.partial {
		options = append(options, client.Partial())
	}
	if t.keep {
		options = append(options, client.Keep())
	}
	l, err := s.client.Acquire(context.Background(), feature, options...)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed { // its lease has ended, and nobody would take the handle back
		return 0, client.ErrClosed
	}
	h := give(&held{l, s})
	s.leases[h] = struct{}{}
	return h, nil
}

// close ends the client, and takes back the handles of its leases.
func (s *session) close(take func(uint64)) error {
	s.mu.Lock()
	s.closed = true
	for h := range s.leases {
		take(h)
	}
	clear(s.leases)
	s.mu.Unlock()
	return s.client.Close()
}

// held is a lease that has a handle.
type held struct {
	*client.Lease
	session *session
}

// forget takes the handle back. False: somebody else did.
func (l *held) forget(h uint64) bool {
	l.session.mu.Lock()
	defer l.session.mu.Unlock()
	if _, there := l.session.leases[h]; !there {
		return false
	}
	delete(l.session.leases, h)
	return true
}
