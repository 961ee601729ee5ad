// Package wgkey makes, keeps and reads the private key of a host for encrypted overlay networks. A key is in one file, which only its
// owner may read, and nowhere else.
package wgkey

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fairway-cni/fairway/pkg/overlay"
)

// ErrKey says that a file holds no private key, or one that others may read.
var ErrKey = errors.New("private key")

// Private is a private key of Curve25519. It is never printed.
type Private [32]byte

// String hides the key from who prints it by mistake.
func (Private) String() string { return "(a private key)" }

// GoString hides it from %#v.
func (p Private) GoString() string { return p.String() }

// Generate makes a key.
func Generate() (Private, error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return Private{}, err
	}
	return clamped(Private(key.Bytes())), nil
}

// clamped is a key as the kernel keeps it (RFC 7748, 5): it is compared with that.
func clamped(p Private) Private {
	p[0] &= 0xf8
	p[31] = p[31]&0x7f | 0x40
	return p
}

// Public is the public key of a private one.
func (p Private) Public() overlay.Key {
	key, err := ecdh.X25519().NewPrivateKey(p[:])
	if err != nil {
		panic(err) // any 32 bytes are a key
	}
	return overlay.Key(key.PublicKey().Bytes())
}

// Parse reads a key as wg(8) writes it, in base64. Errors are ErrKey, without what was read.
func Parse(text []byte) (Private, error) {
	data, err := base64.StdEncoding.Strict().DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(data) != len(Private{}) {
		return Private{}, fmt.Errorf("not a %w in base64, as `fairway overlay genkey` or `wg genkey` makes one", ErrKey)
	}
	return clamped(Private(data)), nil
}

// Read reads a key from a file that nobody but its owner may read. Errors are ErrKey or fs.PathError.
func Read(path string) (Private, error) {
	file, err := os.Open(path)
	if err != nil {
		return Private{}, err
	}
	defer func() { _ = file.Close() }() // it is only read
	info, err := file.Stat()
	if err != nil {
		return Private{}, err
	}
	if others := info.Mode().Perm() & 0o077; others != 0 {
		return Private{}, fmt.Errorf("%w in %s may be read or written by others (mode %04o): make a new one, as this may be known", ErrKey, path, info.Mode().Perm())
	}
	text := make([]byte, 256)
	n, err := file.Read(text)
	if err != nil && n == 0 {
		return Private{}, fmt.Errorf("%s is empty or cannot be read: not a %w", path, ErrKey)
	}
	p, err := Parse(text[:n])
	if err != nil {
		return Private{}, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// Create makes a key in a file that does not exist. The file has its content, and mode 0600, from the first instant that it has its
// name; it is on the disk before anybody hears of the key. One that exists is an error that wraps fs.ErrExist, and stays.
func Create(path string) (p Private, err error) {
	if p, err = Generate(); err != nil {
		return p, err
	}
	aside, err := write(path, p)
	if err != nil {
		return p, err
	}
	defer func() { _ = os.Remove(aside) }() // its other name is the one that counts
	if err := os.Link(aside, path); err != nil {
		return p, err
	}
	return p, syncDirectory(path)
}

// Replace puts a key in the place of the one in a file, which has one or the other at each instant.
func Replace(path string, p Private) error {
	aside, err := write(path, p)
	if err != nil {
		return err
	}
	if err := os.Rename(aside, path); err != nil {
		return errors.Join(err, os.Remove(aside))
	}
	return syncDirectory(path)
}

// write writes a key beside a file.
func write(path string, p Private) (aside string, err error) {
	aside = path + ".new" // of a process that was killed: nobody has heard of that key
	if err := os.Remove(aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	file, err := os.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = file.WriteString(base64.StdEncoding.EncodeToString(p[:]) + "\n")
	if err = errors.Join(err, file.Chmod(0o600), file.Sync(), file.Close()); err != nil {
		return "", errors.Join(err, os.Remove(aside))
	}
	return aside, nil
}

func syncDirectory(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
