package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
)

func keller() console.User {
	return console.User{Name: "keller", Roles: []capability.Role{capability.Viewer, capability.SecurityAdministrator}, Made: 1795161600, Since: 1795161600, Tokens: []console.UserToken{{Name: "nightly", Made: 1795161600, Ends: 1795248000}}}
}

// What an administrator sees of logins.
func TestUsersOutput(t *testing.T) {
	m := newMachine(t)
	d := m.daemon()
	d.says("GET users", []console.User{keller(), {Name: "ada", Roles: []capability.Role{}, Disabled: true, Made: 1795161700, Since: 1795161700, Tokens: []console.UserToken{}}})
	m.prints("users", "users", 0)
	d.says("GET first-login", console.FirstLogin{Code: "K7QF-2M9X"})
	m.prints("first-login", "first-login", 0)
	d.says("GET session", console.Session{By: "uid 0 (pid 12)", Roles: []capability.Role{}, Permissions: []string{"see", "report"}})
	m.prints("session", "session", 0)
	if status, stdout, stderr := m.run("__complete", "users", "change", "K"); status != 0 || !strings.HasPrefix(stdout, "keller\n") || strings.Contains(stdout, "ada") {
		t.Errorf("%d %q %q", status, stdout, stderr)
	}
	if _, stdout, _ := m.run("__complete", "users", "add", "--role", ""); !strings.HasPrefix(stdout, "viewer\noperator\n") {
		t.Errorf("%q", stdout)
	}
	d.says("GET users", []console.User{})
	if status, stdout, stderr := m.run("users"); status != 0 || stdout != "" || !strings.Contains(stderr, "leasehold first-login") {
		t.Errorf("%d %q %q", status, stdout, stderr)
	}
	d.does("GET first-login", func([]byte) (any, *capability.Refusal) {
		return nil, capability.Refuse(capability.ErrFirstLogin, "", "there is a login already")
	})
	status, _, stderr := m.run("first-login")
	if status != capability.ExitPolicy {
		t.Errorf("%d", status)
	}
	fourLines(t, "first-login", stderr, capability.ErrFirstLogin)
}

// What the daemon is asked for; a password comes from a file, a descriptor or a terminal, and never from the command line.
func TestUsersCommands(t *testing.T) {
	m := newMachine(t)
	m.put("pw", []byte("correct horse\r\n"))
	m.put("empty", nil)
	m.put("long", bytes.Repeat([]byte("x"), 2000))
	d := m.daemon()
	for _, what := range []string{"POST users", "PUT users/keller", "DELETE users/keller", "DELETE users/a/b", "DELETE users/keller/tokens/n 1"} {
		d.says(what, keller())
	}
	d.says("POST users/keller/tokens", console.NewToken{Name: "nightly", Token: "lh_secret", Ends: 1795248000})
	for _, row := range []struct {
		args []string
		what string
		want string // the form
	}{
		{[]string{"users", "add", "keller", "--role", "viewer", "--role", "auditor", "--password-file", "pw"}, "POST users", `{"name":"keller","roles":["viewer","auditor"],"password":"correct horse"}`},
		{[]string{"users", "change", "keller", "--no-roles"}, "PUT users/keller", `{"roles":[]}`},
		{[]string{"users", "change", "keller", "--disable"}, "PUT users/keller", `{"disabled":true}`},
		{[]string{"users", "change", "keller", "--enable", "--role", "operator", "--password-file", "pw"}, "PUT users/keller", `{"roles":["operator"],"disabled":false,"password":"correct horse"}`},
		{[]string{"users", "remove", "keller"}, "DELETE users/keller", `{}`},
		{[]string{"users", "remove", "a/b"}, "DELETE users/a/b", `{}`},
		{[]string{"users", "token", "keller", "--name", "nightly", "--days", "2"}, "POST users/keller/tokens", `{"name":"nightly","life":172800}`},
		{[]string{"users", "end-token", "keller", "--name", "n 1"}, "DELETE users/keller/tokens/n 1", `{}`},
	} {
		status, stdout, stderr := m.run(row.args...)
		d.mu.Lock()
		got := string(d.bodies[row.what])
		d.mu.Unlock()
		if status != 0 || got != row.want {
			t.Errorf("%s: %d %s%s, asked %s\nwant %s", row.args, status, stdout, stderr, got, row.want)
		}
		if row.args[1] == "token" && (stdout != "lh_secret\n" || strings.Contains(stderr, "lh_secret")) {
			t.Errorf("%q, %q", stdout, stderr)
		}
	}
	for _, args := range [][]string{
		{"users", "add", "x", "--role", "root", "--password-file", "pw"}, {"users", "add", "x"}, {"users", "add", "x", "--password-fd", "77", "--password-file", "pw"}, {"users", "change", "keller"},
		{"users", "change", "keller", "--new-password"}, {"users", "token", "keller"}, {"users", "token", "keller", "--name", "x", "--days", "400"}, {"users", "token", "keller", "--name", "x", "--days", "0"},
		{"password", "--user", "keller"}, {"session", "open", "--user", "keller"}, {"session", "close"}, {"users", "add", "x", "--password", "y"},
	} {
		if status, _, stderr := m.run(args...); status != capability.ExitUsage {
			t.Errorf("%s: %d %s", args, status, stderr)
		}
	}
	for _, file := range []string{"long", "none"} {
		if status, _, stderr := m.run("users", "add", "x", "--password-file", file); status != capability.ErrFileRead.Entry().Exit {
			t.Errorf("%s: %d %s", file, status, stderr)
		}
	}

	// A descriptor, as a script hands one over.
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0], "users", "add", "keller", "--password-fd", "3")
	c.Dir, c.Env, c.ExtraFiles = m.dir, m.env, []*os.File{read}
	if _, err := write.WriteString("from a pipe\n"); err != nil {
		t.Fatal(err)
	}
	write.Close()
	if b, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	read.Close()
	var form console.UserForm
	if d.asked(t, "POST users", &form); form.Password != "from a pipe" {
		t.Errorf("%+v", form)
	}
}
