package console

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leasehold/leasehold/capability"
)

// What can never be written as a request is refused where it is wished for, and keeps no later exchange from being made.
func TestWishThatCannotBeWritten(t *testing.T) {
	inBubble(t, func(t *testing.T, p *polled) {
		p.missed(p.next(), capability.ErrOnline)
		id, err := capability.NewActivationID(strings.NewReader(strings.Repeat("b", 18)))
		if err != nil {
			t.Fatal(err)
		}
		one := capability.Desired{ActivationID: id, Count: 1}
		for name, wish := range map[string][]capability.Desired{
			"no activation ID":  {{ActivationID: "nothing", Count: 1}},
			"a feature as well": {{ActivationID: id, Feature: "render", Count: 1}},
			"too much":          {{ActivationID: id, Count: capability.MaxCount + 1}},
			"too many":          append(make([]capability.Desired, 0, capability.MaxDesired+1), repeated(one, capability.MaxDesired+1)...),
		} {
			if status, problem := ask(t, p.c.Handler(), "POST", "poll/refresh", Wish{Desired: wish}, nil); status != http.StatusBadRequest || problem.Code != capability.ErrForm {
				t.Errorf("%s: %d %+v", name, status, problem)
			}
		}
		p.c.Poll.wish = []capability.Desired{{ActivationID: "nothing", Count: 1}} // one that came by all the same
		var e Errand
		for at := time.Now(); e.Number == 0 && time.Since(at) < 2*time.Hour; {
			if status, problem := ask(t, p.program, "POST", "poll/next", nil, &e); status != http.StatusOK {
				t.Fatal(problem)
			}
		}
		if e.Number != 2 {
			t.Errorf("request %d after two periods", e.Number)
		}
	})
}

func repeated(d capability.Desired, n int) (list []capability.Desired) {
	for range n {
		list = append(list, d)
	}
	return list
}

// held is a body that does not come.
type held struct{ begun, ends chan struct{} }

func (h held) Read([]byte) (int, error) {
	close(h.begun)
	<-h.ends
	return 0, io.ErrUnexpectedEOF
}

// A program that sends its answer slowly, or not at all, keeps nobody else waiting.
func TestSlowProgram(t *testing.T) {
	inBubble(t, func(t *testing.T, p *polled) {
		e := p.next()
		body := held{make(chan struct{}), make(chan struct{})}
		w := httptest.NewRecorder()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			p.program.ServeHTTP(w, httptest.NewRequest("POST", Base+fmt.Sprintf("poll/answer?number=%d", e.Number), body))
		}()
		<-body.begun
		synctest.Wait()
		if !p.c.Poll.mu.TryLock() {
			t.Error("whoever looks at the state waits for the program")
		} else {
			p.c.Poll.mu.Unlock()
		}
		close(body.ends)
		<-ended
		if s := p.state(); s.Tries != 1 || s.Last.Problem.Code != capability.ErrFileSize {
			t.Errorf("%+v", s)
		}
	})
}

// What the program says of the world outside is shown to people: it says nothing that was not said, and tells a refusal of a newer back office by its number.
func TestWhatTheProgramSays(t *testing.T) {
	inBubble(t, func(t *testing.T, p *polled) {
		e := p.next()
		if _, problem := ask(t, p.program, "POST", "poll/missed", Missed{e.Number, capability.Denial{Code: capability.Applied}}, nil); problem.Code != capability.ErrForm {
			t.Errorf("a refusal that is done: %+v", problem)
		}
		detail := "one\ntwo\u202e" + strings.Repeat("\u20ac", capability.MaxDetail)
		if status, problem := ask(t, p.program, "POST", "poll/missed", Missed{e.Number, capability.Denial{Code: capability.ErrOfficeUnreachable, Detail: detail}}, nil); status != http.StatusOK {
			t.Fatal(problem)
		}
		if d := p.state().Last.Problem.Denial; d.Validate() != nil || !strings.HasPrefix(d.Detail, "one?two?\u20ac") {
			t.Errorf("%v: %q", d.Validate(), d.Detail)
		}
		e = p.next()
		if status, problem := ask(t, p.program, "POST", "poll/missed", []byte(fmt.Sprintf(`{"number":%d,"denial":{"code":"LH-9998"}}`, e.Number)), nil); status != http.StatusOK {
			t.Fatal(problem)
		}
		if s := p.state(); s.Last.Problem.Code != 9998 || s.Tries != 0 {
			t.Errorf("%+v", s)
		}
	})
}
