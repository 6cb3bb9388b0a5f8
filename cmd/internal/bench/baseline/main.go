// Baseline is the service that anyone would write first, to compare the appliance with: leases in SQLite, HTTP with JSON, a signature for each answer.
//
//	baseline -dir DIR [-nosync]
//	baseline -dir DIR -recover ROWS
//
// It is no weak one: plain HTTP without TLS, one writer with prepared statements in WAL mode, no client is authenticated and no rule is looked at but the count.
// With -nosync a commit is not waited for and answers are not signed: a power cut loses leases. It prints its address, and serves until its input ends.
// With -recover it makes that many leases, and prints the milliseconds that a new connection takes to read them all into memory.
//
// It is a module of its own, so that nobody who builds Leasehold needs SQLite.
package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	_ "modernc.org/sqlite"
)

func main() {
	dir := flag.String("dir", "", "keep the database in this `directory`")
	nosync := flag.Bool("nosync", false, "wait for no commit and sign nothing")
	rows := flag.Int("recover", 0, "time the reading of this many `rows` instead of serving")
	flag.Parse()
	err := errors.New("-dir is needed")
	switch {
	case *dir == "":
	case *rows > 0:
		err = recoverRows(*dir, *rows)
	default:
		err = serve(*dir, *nosync)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "baseline:", err)
		os.Exit(1)
	}
}

const lease = 15 * 60 // seconds

const schema = `
CREATE TABLE IF NOT EXISTS features (name TEXT PRIMARY KEY, total INTEGER NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leases (host TEXT, feature TEXT, count INTEGER NOT NULL, expiry INTEGER NOT NULL, correlation TEXT NOT NULL, PRIMARY KEY (host, feature)) WITHOUT ROWID;
INSERT OR IGNORE INTO features VALUES ('render', 2000000, 0);`

func open(dir, synchronous string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "leases.db")+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous("+synchronous+")&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // a second one would only wait for the lock of the first
	_, err = db.Exec(schema)
	return db, err
}

// server is the whole service.
type server struct {
	key                         ed25519.PrivateKey // nil: nothing is signed
	mu                          sync.Mutex         // the one writer
	conn                        *sql.Conn
	take, give, put, del, renew *sql.Stmt
}

type desired struct {
	Feature string `json:"feature"`
	Version string `json:"version"`
	Count   int    `json:"count"`
}

type request struct {
	Host        string    `json:"host"`
	Correlation string    `json:"correlation"`
	Desired     []desired `json:"desired"`
	Renew       bool      `json:"renew,omitempty"`
}

type right struct {
	Feature string `json:"feature"`
	Version string `json:"version"`
	Count   int    `json:"count"`
	Expiry  int64  `json:"expiry"`
}

type response struct {
	Status      string  `json:"status"`
	Host        string  `json:"host"`
	Correlation string  `json:"correlation"`
	Time        int64   `json:"time"`
	Rights      []right `json:"rights"`
}

// answer is what is sent: the signature covers the bytes of the response.
type answer struct {
	Response  json.RawMessage `json:"response"`
	Signature []byte          `json:"signature,omitempty"`
}

func serve(dir string, nosync bool) error {
	synchronous := "FULL"
	s := &server{}
	if nosync {
		synchronous = "NORMAL"
	} else {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		s.key = key
	}
	db, err := open(dir, synchronous)
	if err != nil {
		return err
	}
	defer db.Close()
	ctx := context.Background()
	if s.conn, err = db.Conn(ctx); err != nil {
		return err
	}
	for _, p := range []struct {
		to   **sql.Stmt
		text string
	}{
		{&s.take, "UPDATE features SET used = used + ? WHERE name = ? AND used + ? <= total"},
		{&s.put, "INSERT INTO leases VALUES (?, ?, ?, ?, ?)"},
		{&s.del, "DELETE FROM leases WHERE host = ? RETURNING feature, count"},
		{&s.give, "UPDATE features SET used = used - ? WHERE name = ?"},
		{&s.renew, "UPDATE leases SET expiry = ?, correlation = ? WHERE host = ? AND feature = ?"},
	} {
		if *p.to, err = s.conn.PrepareContext(ctx, p.text); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /lease", s.lease)
	mux.HandleFunc("GET /key", func(w http.ResponseWriter, _ *http.Request) {
		if s.key != nil {
			w.Write(s.key.Public().(ed25519.PublicKey))
		}
	})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		l.Close()
	}()
	fmt.Println(l.Addr())
	if err := http.Serve(l, mux); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (s *server) lease(w http.ResponseWriter, hr *http.Request) {
	var r request
	if err := json.NewDecoder(io.LimitReader(hr.Body, 16<<10)).Decode(&r); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	resp, err := s.decide(hr.Context(), &r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	b, err := json.Marshal(resp)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	a := answer{Response: b}
	if s.key != nil {
		a.Signature = ed25519.Sign(s.key, b)
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(a)
}

// decide makes what is held exactly what is desired, in one transaction, as the appliance does; or moves the ends.
func (s *server) decide(ctx context.Context, r *request) (*response, error) {
	now := time.Now().Unix()
	resp := &response{Status: "OK", Host: r.Host, Correlation: r.Correlation, Time: now}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Statements of one connection in a transaction of text: a database/sql transaction would prepare each statement again.
	if _, err := s.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return nil, err
	}
	err := s.change(ctx, r, now, resp)
	end := "COMMIT"
	if err != nil {
		end = "ROLLBACK"
	}
	if _, ended := s.conn.ExecContext(context.WithoutCancel(ctx), end); ended != nil {
		return nil, errors.Join(err, ended)
	}
	return resp, err
}

func (s *server) change(ctx context.Context, r *request, now int64, resp *response) error {
	if !r.Renew {
		if err := s.release(ctx, r.Host); err != nil {
			return err
		}
	}
	if len(r.Desired) == 0 {
		resp.Status = "RETURNED"
	}
	for _, d := range r.Desired {
		var done sql.Result
		var err error
		if r.Renew {
			done, err = s.renew.ExecContext(ctx, now+lease, r.Correlation, r.Host, d.Feature)
		} else if done, err = s.take.ExecContext(ctx, d.Count, d.Feature, d.Count); err == nil {
			if _, err = s.put.ExecContext(ctx, r.Host, d.Feature, d.Count, now+lease, r.Correlation); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n != 1 {
			return fmt.Errorf("%s: %d rows: %w", d.Feature, n, errors.Join(err, errors.New("no count is free, or nothing is held")))
		}
		resp.Rights = append(resp.Rights, right{d.Feature, d.Version, d.Count, now + lease})
	}
	return nil
}

func (s *server) release(ctx context.Context, host string) error {
	rows, err := s.del.QueryContext(ctx, host)
	if err != nil {
		return err
	}
	held := map[string]int{}
	for rows.Next() {
		var feature string
		var count int
		if err := rows.Scan(&feature, &count); err != nil {
			return err
		}
		held[feature] += count
	}
	if err := rows.Close(); err != nil {
		return err
	}
	for feature, n := range held {
		if _, err := s.give.ExecContext(ctx, n, feature); err != nil {
			return err
		}
	}
	return rows.Err()
}

func recoverRows(dir string, n int) error {
	db, err := open(dir, "FULL")
	if err != nil {
		return err
	}
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	put, err := tx.Prepare("INSERT INTO leases VALUES (?, 'render', 1, ?, ?)")
	if err != nil {
		return err
	}
	for i := range n {
		if _, err := put.Exec(fmt.Sprintf("%012x", i), i, fmt.Sprintf("%032x", i)); err != nil {
			return err
		}
	}
	if err := errors.Join(tx.Commit(), db.Close()); err != nil {
		return err
	}
	begin := time.Now()
	if db, err = open(dir, "FULL"); err != nil {
		return err
	}
	defer db.Close()
	rows, err := db.Query("SELECT host, feature, count, expiry FROM leases")
	if err != nil {
		return err
	}
	defer rows.Close()
	type row struct {
		feature string
		count   int
		expiry  int64
	}
	all := make(map[string]row, n)
	for rows.Next() {
		var host string
		var r row
		if err := rows.Scan(&host, &r.feature, &r.count, &r.expiry); err != nil {
			return err
		}
		all[host] = r
	}
	if len(all) != n {
		return fmt.Errorf("%d rows where %d were written", len(all), n)
	}
	fmt.Println(time.Since(begin).Milliseconds())
	return rows.Err()
}
