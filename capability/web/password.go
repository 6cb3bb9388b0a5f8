package web

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// Passwords are kept as Argon2id (RFC 9106) of 19 MiB, two passes and one lane, in the usual text form: parameters, salt, hash.
const (
	argonTime, argonMemory, argonLanes = 2, 19 << 10, 1

	saltBytes, hashBytes = 16, 32

	// MinPassword and MaxPassword are in characters and in bytes.
	MinPassword = 12
	MaxPassword = 1024
)

// CheckPassword says why a password will not do.
func CheckPassword(password, name string) error {
	switch {
	case !utf8.ValidString(password) || strings.ContainsFunc(password, func(r rune) bool { return r < ' ' }):
		return errors.New("it has characters that cannot be typed")
	case utf8.RuneCountInString(password) < MinPassword:
		return fmt.Errorf("it has %d characters, and needs %d", utf8.RuneCountInString(password), MinPassword)
	case len(password) > MaxPassword:
		return fmt.Errorf("it has %d bytes, and %d are allowed", len(password), MaxPassword)
	case name != "" && strings.Contains(strings.ToLower(password), strings.ToLower(name)):
		return errors.New("it has the name in it")
	}
	return nil
}

// HashPassword is what may be kept of a password.
func HashPassword(password string, rand io.Reader) (string, error) {
	salt := make([]byte, saltBytes)
	if _, err := io.ReadFull(rand, salt); err != nil {
		return "", fmt.Errorf("draw a salt: %w", err)
	}
	b := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonLanes, b.EncodeToString(salt),
		b.EncodeToString(argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonLanes, hashBytes))), nil
}

// Hashing bounds how many passwords are hashed at once: each takes 19 MiB, and anybody may send some.
type Hashing chan struct{}

// NewHashing lets four be hashed at once.
func NewHashing() Hashing { return make(Hashing, 4) }

// Fits is PasswordFits, when its turn comes.
func (h Hashing) Fits(ctx context.Context, password, hash string) (fits bool, err error) {
	err = h.turn(ctx, func() error { fits = PasswordFits(password, hash); return nil })
	return fits, err
}

// Hash is HashPassword, when its turn comes.
func (h Hashing) Hash(ctx context.Context, password string, rand io.Reader) (hash string, err error) {
	err = h.turn(ctx, func() error { hash, err = HashPassword(password, rand); return err })
	return hash, err
}

func (h Hashing) turn(ctx context.Context, f func() error) error {
	select {
	case h <- struct{}{}:
		defer func() { <-h }()
		return f()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// PasswordFits says whether a password is the one of a hash. It takes as long for a hash that is none: whoever guesses names learns nothing by the clock.
func PasswordFits(password, hash string) bool {
	var memory, time uint32
	var lanes uint8
	var version int
	part := strings.Split(hash, "$")
	salt, want := make([]byte, saltBytes), make([]byte, hashBytes)
	known := len(part) == 6 && part[1] == "argon2id"
	if known {
		_, errV := fmt.Sscanf(part[2], "v=%d", &version)
		_, errP := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &memory, &time, &lanes)
		s, errS := base64.RawStdEncoding.DecodeString(part[4])
		h, errH := base64.RawStdEncoding.DecodeString(part[5])
		known = errV == nil && errP == nil && errS == nil && errH == nil && version == argon2.Version && len(h) == hashBytes && lanes > 0 && time > 0 && time <= 16 && memory <= 1<<20
		if known {
			salt, want = s, h
		}
	}
	if !known {
		memory, time, lanes = argonMemory, argonTime, argonLanes
	}
	if len(password) > MaxPassword {
		password = password[:MaxPassword+1]
	}
	got := argon2.IDKey([]byte(password), salt, time, memory, lanes, hashBytes)
	return subtle.ConstantTimeCompare(got, want) == 1 && known
}
