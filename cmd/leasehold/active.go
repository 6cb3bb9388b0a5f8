package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// The states of an appliance whose daemon says none.
const (
	stopped = "stopped" // it does not answer, or says why it cannot start
	delayed = "waiting" // it answers that it has to wait: for the TPM, or for what it is busy with, or it takes long to answer
)

// activity is the state of the appliance in a word, and the code of what keeps it from serving: none where it serves. An error is one of asking.
func (p *program) activity(ctx context.Context) (state string, code capability.Code, h *console.Health, err error) {
	h, err = p.health(ctx)
	var no unserved
	switch {
	case err != nil && terminal.CodeOf(err) == capability.ErrNoDaemon && errors.Is(err, context.DeadlineExceeded):
		return delayed, capability.ErrBusy, nil, nil
	case err != nil && terminal.CodeOf(err) == capability.ErrNoDaemon:
		return stopped, capability.ErrNoDaemon, nil, nil
	case errors.As(err, &no) && no.Code.Entry().Exit == capability.ExitTemporary:
		return delayed, no.Code, nil, nil
	case errors.As(err, &no):
		return stopped, no.Code, nil, nil
	case err != nil:
		return "", 0, nil, err
	case h.Condition != nil:
		code = h.Condition.Code
	case h.HoldUntil != 0:
		code = capability.ErrHold
	case h.Applied == 0:
		code = capability.ErrNotProvisioned
	}
	return h.State, code, h, nil
}

func (p *program) isActiveCommand() *cobra.Command {
	var quiet bool
	c := &cobra.Command{
		Use: "is-active [--quiet]", Short: "Say in a word and by the exit status whether the appliance serves", Args: cobra.NoArgs,
		Long: "The word is serving, holding, refusing, not activated, waiting where it has to wait for the TPM or is busy, or stopped. The exit status is 0 where it serves, else that of the code for it: " +
			"3 stopped, 12 not activated, 22 holding, 75 waiting, or that of the condition; leasehold status says more.",
		RunE: func(c *cobra.Command, _ []string) error {
			state, code, _, err := p.activity(c.Context())
			if err != nil {
				return err
			}
			switch {
			case quiet:
			case p.json:
				err = terminal.JSON(p.out, active{terminal.NewData("leasehold.is-active/1"), state, codeOrNone(code)})
			default:
				p.printf("%s\n", state)
			}
			if err == nil && code != 0 {
				return terminal.ExitStatus(code.Entry().Exit)
			}
			return err
		},
	}
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing: the exit status says it")
	return c
}

type active struct {
	terminal.Data
	State string           `json:"state"`
	Code  *capability.Code `json:"code"` // of what keeps it from serving, or null
}

func codeOrNone(c capability.Code) *capability.Code {
	if c == 0 {
		return nil
	}
	return &c
}

// lookEvery is how often an appliance that is waited for is looked at.
const lookEvery = 500 * time.Millisecond

// waits are what can be waited for, and when it is there.
func waits() map[string]func(state string, h *console.Health) bool {
	return map[string]func(string, *console.Health) bool{
		"ready":     func(state string, _ *console.Health) bool { return state == "serving" },
		"activated": func(_ string, h *console.Health) bool { return h != nil && h.Applied != 0 },
		"response":  func(_ string, h *console.Health) bool { return h != nil && h.Applied != 0 && h.Waiting == 0 },
	}
}

func (p *program) waitCommand() *cobra.Command {
	var what string
	var timeout time.Duration
	kinds := []string{"ready", "activated", "response"}
	c := &cobra.Command{
		Use: "wait --for ready|activated|response [--timeout D]", Short: "Wait until the appliance is ready, activated or answered", Args: cobra.NoArgs,
		Long: "ready: it serves, which a hold and a clock that is held keep it from for a time. activated: it has had its first response. response: the newest request it has written is answered, " +
			"and the response is in force.\n\nA daemon that does not answer is waited for too. What is there already ends the command at once, with 0; when the time of --timeout is over, the exit status is 75.",
		Example: "  leasehold wait --for ready --timeout 5m && start-the-farm",
		RunE: func(c *cobra.Command, _ []string) error {
			there := waits()[what]
			if there == nil {
				return terminal.Usage("--for %q: want %s", what, strings.Join(kinds, ", "))
			}
			if timeout < 0 {
				return terminal.Usage("--timeout %s: want a time, as 5m", timeout)
			}
			return p.wait(c.Context(), what, timeout, there)
		},
	}
	c.Flags().StringVar(&what, "for", "", "ready, activated or response")
	c.Flags().DurationVar(&timeout, "timeout", 0, "longest time to wait, as 5m; 0: without end")
	must(c.MarkFlagRequired("for"))
	must(c.RegisterFlagCompletionFunc("for", cobra.FixedCompletions(slices.Clone(kinds), cobra.ShellCompDirectiveNoFileComp)))
	return c
}

// must is for what only a flag that this program does not have can make fail.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// wait looks at least once, however short the timeout.
func (p *program) wait(ctx context.Context, what string, timeout time.Duration, there func(string, *console.Health) bool) error {
	var over <-chan time.Time
	if timeout > 0 {
		over = time.After(timeout)
	}
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		state, code, h, err := p.activity(ctx)
		if err != nil {
			return err
		}
		if there(state, h) {
			if p.json {
				return terminal.JSON(p.out, struct {
					active
					For string `json:"for"`
				}{active{terminal.NewData("leasehold.wait/1"), state, codeOrNone(code)}, what})
			}
			p.printf("%s\n", state)
			return nil
		}
		select {
		case <-over:
			return terminal.Coded(capability.ErrWaited, fmt.Errorf("%s, after %s: %s", what, timeout, state))
		case <-t.C:
		}
	}
}
