package screen

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Asker asks a person a question on a terminal, and for a secret without showing it.
type Asker struct {
	Line   func() (string, error)
	Secret func(question string) (string, error)
}

// maxLine is how much of a line that is typed is kept, in bytes.
const maxLine = 1 << 10

// Lines asks on streams. What is typed in answer is a line of at most a thousand bytes; what is longer is read to its end and is no answer, as a part of it would be another one.
func Lines(in io.Reader) func() (string, error) {
	r := bufio.NewReaderSize(in, maxLine)
	return func() (string, error) {
		b, err := r.ReadSlice('\n')
		line := strings.TrimRight(string(b), "\r\n")
		for errors.Is(err, bufio.ErrBufferFull) {
			line = ""
			_, err = r.ReadSlice('\n')
		}
		if line != "" {
			err = nil
		}
		return line, err
	}
}

// Menu is the console where nothing can be drawn: the same items by number. It ends with its input, and with q where stay does not forbid that. text is the request as text, for who cannot scan a picture of it.
func Menu(ctx context.Context, out io.Writer, ask Asker, src Source, stay bool, text func(file []byte) string) error {
	say := func(lines ...string) error {
		for _, l := range lines {
			if _, err := fmt.Fprintln(out, Safe(l)); err != nil {
				return err
			}
		}
		return nil
	}
	state := src.Look(ctx)
	opening := state.Plain()
	if stay {
		opening = state.Opening()
	}
	if err := say(opening...); err != nil {
		return err
	}
	for ; ctx.Err() == nil; state = src.Look(ctx) {
		var items []string
		for _, k := range state.keys() {
			items = append(items, strings.TrimPrefix(strings.Replace(k.Name, "F10", "F0", 1), "F")+") "+k.What)
		}
		if !stay {
			items = append(items, "q) quit")
		}
		if err := say("", strings.Join(items, "  ")); err != nil {
			return err
		}
		fmt.Fprint(out, "> ")
		item, err := ask.Line()
		if err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		var lines []string
		switch strings.TrimSpace(item) {
		case "":
		case "1":
			lines = state.Plain()
			if state.FirstCode != "" {
				lines = append(lines, "first-login code "+state.FirstCode)
			}
			lines = append(lines, state.told()...)
		case "2":
			lines = state.network()
			if src.Network != nil {
				if err := say(lines...); err != nil {
					return err
				}
				lines = menuNetwork(ctx, out, ask, src, state)
			}
		case "3":
			lines = src.Log(ctx)
		case "4":
			number, file, err := src.Request(ctx)
			if err != nil {
				lines = src.Say(err)
				break
			}
			lines = append([]string{fmt.Sprintf("Request %d, to be pasted at the back office:", number)}, strings.Split(text(file), "\n")...)
		case "5":
			lines = src.Seats(ctx)
		case "6":
			lines = came("Sticks are let in for five minutes: plug it in now.", src.Allow(ctx), src)
		case "9":
			lines = menuPassword(ctx, out, ask, src)
		case "0", "10":
			lines = menuPower(ctx, out, ask, src)
		case "q":
			if !stay {
				return nil
			}
		default:
			lines = []string{"No such item."}
		}
		if err := say(lines...); err != nil {
			return err
		}
	}
	return nil
}

// came is what is said of something that was done, or was not.
func came(well string, err error, src Source) []string {
	if err != nil {
		return src.Say(err)
	}
	return []string{well}
}

func menuPassword(ctx context.Context, out io.Writer, ask Asker, src Source) []string {
	fmt.Fprint(out, "Login: ")
	login, err := ask.Line()
	if err != nil || login == "" {
		return []string{"Nothing was changed."}
	}
	var typed [3]string
	for i, question := range []string{"Current password: ", "New password: ", "The same again: "} {
		if typed[i], err = ask.Secret(question); err != nil {
			return []string{"Nothing was changed."}
		}
	}
	if typed[1] != typed[2] {
		return []string{"The two new passwords differ. Nothing was changed."}
	}
	return came(fmt.Sprintf("The password of %s is changed.", login), src.Password(ctx, login, typed[0], typed[1]), src)
}

func menuNetwork(ctx context.Context, out io.Writer, ask Asker, src Source, state *State) []string {
	var typed [3]string
	for i, question := range []string{"Card to set up, or nothing: ", "Address, as 10.20.0.15/24, or nothing for DHCP: ", "Gateway, or nothing: "} {
		if i == 2 && typed[1] == "" {
			break
		}
		fmt.Fprint(out, question)
		var err error
		if typed[i], err = ask.Line(); err != nil || typed[0] == "" {
			return []string{"Nothing was changed."}
		}
	}
	login, password := "", ""
	if state.signsIn() {
		fmt.Fprint(out, "Your login: ")
		var err error
		if login, err = ask.Line(); err == nil && login != "" {
			password, err = ask.Secret("Its password: ")
		}
		if err != nil || login == "" {
			return []string{"Nothing was changed."}
		}
	}
	said, err := src.Network(ctx, login, password, typed[0], typed[1], typed[2])
	return came(said, err, src)
}

func menuPower(ctx context.Context, out io.Writer, ask Asker, src Source) []string {
	fmt.Fprint(out, "restart or off, or nothing: ")
	what, err := ask.Line()
	if p := Power(strings.TrimSpace(what)); err != nil || p != Restart && p != Off {
		return []string{"Nothing was done."}
	}
	fmt.Fprint(out, "Reason, for the log: ")
	why, err := ask.Line()
	if err != nil || strings.TrimSpace(why) == "" {
		return []string{"Nothing was done: it needs a reason."}
	}
	return came("It is on its way.", src.Power(ctx, Power(strings.TrimSpace(what)), why), src)
}
