//go:build linux

// Package directorytest runs a server of LDAP on this machine for tests: OpenLDAP's slapd as a child process, in a directory of its own, with people, groups and certificates that tests know. Start with New.
//
// Without slapd a test fails and says so: make deps.
package directorytest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// What is in the directory. Everybody's password is their name and " has a secret"; Odd has a name that a filter and a DN have to escape.
const (
	Base    = "dc=example,dc=org"
	People  = "ou=people," + Base
	Account = "cn=reader," + Base
	Secret  = "the reader has a secret"
	Odd     = `o'neil, (x)*+"#`
	// Elsewhere is a part of the tree that is said to be on another server.
	Elsewhere = "ou=elsewhere," + Base

	Viewers  = "cn=viewers,ou=groups," + Base  // keller, ada and Odd
	Security = "cn=security,ou=groups," + Base // ada, by another kind of group
	Shift    = "cn=shift,ou=groups," + Base    // chen, by a third
)

// PasswordOf is somebody's.
func PasswordOf(name string) string { return name + " has a secret" }

// A Certificate is what the server shows.
type Certificate int

// The certificates: a good one; and those that are over, are for another name, or that nobody knows the authority of.
const (
	Good Certificate = iota
	Expired
	Misnamed
	Foreign
)

// Server is one that runs.
type Server struct {
	TLS       string // ldaps://localhost:PORT
	Plain     string // ldap://localhost:PORT, which takes no password before STARTTLS
	Authority string // file of PEM
	Pool      *x509.CertPool

	dir   string
	cmd   *exec.Cmd
	ended chan struct{}
}

// New starts a server that has its files in dir, which is empty.
func New(dir string, show Certificate) (*Server, error) {
	program, err := exec.LookPath("slapd")
	if err != nil {
		program = "/usr/sbin/slapd"
		if _, err := os.Stat(program); err != nil {
			return nil, fmt.Errorf("slapd is missing: make deps: %w", err)
		}
	}
	s := &Server{dir: dir, Authority: filepath.Join(dir, "authority.pem")}
	if err := s.certify(show); err != nil {
		return nil, err
	}
	if err := s.fill(program); err != nil {
		return nil, err
	}
	return s, s.start(program)
}

// fill writes the configuration, and the content of the directory.
func (s *Server) fill(program string) error {
	data := filepath.Join(s.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	conf := `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile DIR/pid
TLSCertificateFile DIR/server.pem
TLSCertificateKeyFile DIR/key.pem
security simple_bind=128
database mdb
maxsize 10485760
suffix "` + Base + `"
directory DIR/data
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="` + Account + `" read by * none
`
	if err := os.WriteFile(s.path("conf"), []byte(strings.ReplaceAll(conf, "DIR", s.dir)), 0o600); err != nil {
		return err
	}
	add := exec.Command(program, "-T", "add", "-f", s.path("conf"))
	add.Stdin = strings.NewReader(content())
	if out, err := add.CombinedOutput(); err != nil {
		return fmt.Errorf("fill the directory: %w\n%s", err, out)
	}
	return nil
}

// content is the directory in LDIF (RFC 2849).
func content() string {
	var b strings.Builder
	entry := func(dn string, lines ...string) {
		fmt.Fprintf(&b, "dn: %s\n%s\n\n", dn, strings.Join(lines, "\n"))
	}
	entry(Base, "objectClass: dcObject", "objectClass: organization", "dc: example", "o: example")
	for _, ou := range []string{"people", "groups", "others"} {
		entry("ou="+ou+","+Base, "objectClass: organizationalUnit", "ou: "+ou)
	}
	entry(Account, "objectClass: simpleSecurityObject", "objectClass: organizationalRole", "cn: reader", "userPassword: "+Secret)
	entry(Elsewhere, "objectClass: referral", "objectClass: extensibleObject", "ou: elsewhere", "ref: ldap://127.0.0.1:1/dc=other")
	person := func(dn, uid string) {
		entry(dn, "objectClass: inetOrgPerson", "uid: "+uid, "cn: "+uid, "sn: "+uid, "userPassword: "+PasswordOf(uid))
	}
	for _, uid := range []string{"keller", "ada", "bo", "chen", "twin"} {
		person("uid="+uid+","+People, uid)
	}
	person("uid=twin,ou=others,"+Base, "twin")
	odd := "cn=odd\\2C \\28one\\29\\2A," + People
	entry(odd, "objectClass: inetOrgPerson", "uid: "+Odd, "cn: odd, (one)*", "sn: odd", "userPassword: "+PasswordOf(Odd))
	entry("uid=open,"+People, "objectClass: inetOrgPerson", "uid: open", "cn: open", "sn: open") // without a password
	member := func(uid string) string { return "uid=" + uid + "," + People }
	entry(Viewers, "objectClass: groupOfNames", "cn: viewers", "member: "+member("keller"), "member: "+member("ada"), "member: "+odd)
	entry(Security, "objectClass: groupOfUniqueNames", "cn: security", "uniqueMember: "+member("ada"))
	entry(Shift, "objectClass: posixGroup", "cn: shift", "gidNumber: 1000", "memberUid: chen")
	return b.String()
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

func (s *Server) start(program string) error {
	var ports [2]string
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		_, ports[i], _ = net.SplitHostPort(l.Addr().String())
		l.Close()
	}
	s.TLS, s.Plain = "ldaps://localhost:"+ports[0], "ldap://localhost:"+ports[1]
	s.cmd = exec.Command(program, "-f", s.path("conf"), "-h", fmt.Sprintf("ldaps://127.0.0.1:%s/ ldap://127.0.0.1:%s/", ports[0], ports[1]), "-d", "0")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	s.cmd.Stdout, s.cmd.Stderr = &said, &said
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.ended = make(chan struct{})
	go func() { s.cmd.Wait(); close(s.ended) }()
	for end := time.Now().Add(time.Minute); ; {
		if c, err := net.Dial("tcp", "127.0.0.1:"+ports[1]); err == nil {
			return c.Close()
		}
		select {
		case <-s.ended:
			return fmt.Errorf("slapd ends: %s", said.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(end) {
			s.Close()
			return errors.New("slapd does not answer")
		}
	}
}

// Close ends the server.
func (s *Server) Close() {
	s.cmd.Process.Kill()
	<-s.ended
}

// certify makes an authority, and the certificate that the server shows.
func (s *Server) certify(show Certificate) error {
	authority, err := newAuthority(s.Authority)
	if err != nil {
		return err
	}
	s.Pool = x509.NewCertPool()
	s.Pool.AddCert(authority.Leaf)
	if show == Foreign {
		if authority, err = newAuthority(s.path("foreign.pem")); err != nil {
			return err
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	c := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(48 * time.Hour), DNSNames: []string{"localhost"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature}
	switch show {
	case Expired:
		c.NotAfter = now.Add(-24 * time.Hour)
	case Misnamed:
		c.DNSNames = []string{"another.example.org"}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, authority.Leaf, &key.PublicKey, authority.PrivateKey)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path("server.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(s.path("key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)
}

// Shown is the certificate that the server shows, for a test that stands in for it.
func (s *Server) Shown() (tls.Certificate, error) {
	return tls.LoadX509KeyPair(s.path("server.pem"), s.path("key.pem"))
}

func newAuthority(path string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of " + filepath.Base(path)}, NotBefore: now.Add(-96 * time.Hour), NotAfter: now.Add(96 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}
