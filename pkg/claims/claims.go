// Package claims remembers which attachments use a thing of the host that goes with its last user, such as a VLAN interface,
// where the kernel has no place for the name of an owner. A claim is a file; all of them lie below /run, so that they last
// as long as the kernel's state does. A plugin may be killed at any moment: whoever makes a thing claims it first, and
// drops the claim last.
package claims

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/flock"
)

// ErrBusy says that another process held the book for longer than a call may wait.
var ErrBusy = errors.New("the claims are locked by another process")

// errUnreadable says that the file of a claim holds none.
var errUnreadable = errors.New("no claim")

// patience is longer than any call holds the book: it asks the kernel for a link and a few addresses.
const patience = 20 * time.Second

// Owner is an attachment.
type Owner struct {
	Network     string `json:"network"`
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifname"`
}

// Claim is what one attachment uses of a thing.
type Claim struct {
	Owner Owner `json:"owner"`
	// Netns is the namespace of the container; the zero value means none.
	Netns Netns `json:"netns,omitzero"`
	// Addresses are those of the container that the thing serves.
	Addresses []netip.Addr `json:"addresses,omitempty"`
}

// Netns identifies a network namespace during one boot.
type Netns struct {
	// Path is where it was then.
	Path  string `json:"path"`
	Dev   uint64 `json:"dev"`
	Inode uint64 `json:"inode"`
	// Cookie is never given again. 0: unknown.
	Cookie uint64 `json:"cookie,omitempty"`
}

// Book is the claims of one host, held by this process alone until it is closed.
type Book struct {
	root *os.Root
	lock int
}

// Open waits for the book in a directory, and makes one if need be. The error is ErrBusy when another process does not give
// it up.
func Open(dir string) (*Book, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return open(dir)
}

// OpenExisting is Open for who has nothing to write: without a book it gives nil.
func OpenExisting(dir string) (*Book, error) {
	book, err := open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return book, err
}

func open(dir string) (*Book, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	fd, err := lock(dir)
	if err != nil {
		_ = root.Close() // nothing was written
		if errors.Is(err, flock.ErrBusy) {
			return nil, fmt.Errorf("%s: %w for %s: try again, or look for a plugin that hangs", dir, ErrBusy, patience)
		}
		return nil, &fs.PathError{Op: "lock", Path: filepath.Join(dir, lockFile), Err: err}
	}
	return &Book{root: root, lock: fd}, nil
}

func lock(dir string) (fd int, err error) {
	d, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(d) }() // nothing was written
	return flock.At(context.Background(), d, lockFile, patience)
}

// The files beside the things, whose names hold no dot at the beginning.
const (
	lockFile = ".lock"
	newFile  = ".new"
)

// Close gives the book to the next process.
func (b *Book) Close() {
	_ = unix.Close(b.lock) // what was written has reported its errors
	_ = b.root.Close()     // likewise
}

// Put enters a claim on a thing, in place of an earlier one of the same owner. The name of a thing is a file's; it holds no
// slash and begins with no dot.
func (b *Book) Put(thing string, c Claim) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	// All of it or nothing. There is no flush: after a power failure there is no claim.
	if err := b.root.WriteFile(newFile, text, 0o600); err != nil {
		return err
	}
	if err := b.root.Mkdir(thing, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return b.root.Rename(newFile, file(thing, c.Owner))
}

// Claim is an owner's claim on a thing; ok is false when there is none, or one that is no claim any more.
func (b *Book) Claim(thing string, o Owner) (c Claim, ok bool, err error) {
	c, err = b.read(file(thing, o))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errUnreadable) {
		return Claim{}, false, nil
	}
	return c, err == nil, err
}

// Drop removes an owner's claim on a thing. Absence is success.
func (b *Book) Drop(thing string, o Owner) error {
	if err := b.root.Remove(file(thing, o)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// The directory goes with the last claim.
	if err := b.root.Remove(thing); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	return nil
}

// Claims are all claims on a thing. A file that is none is as if it were absent, and logged: it must not keep what others claim
// from going. One that cannot be read is left out, and part of the error.
func (b *Book) Claims(thing string) ([]Claim, error) {
	names, err := b.names(thing)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []Claim
	errs := []error{err}
	for _, name := range names {
		c, err := b.read(thing + "/" + name)
		switch {
		case err == nil:
			all = append(all, c)
		case !errors.Is(err, errUnreadable):
			errs = append(errs, err)
		}
	}
	return all, errors.Join(errs...)
}

// Things are all that somebody claims.
func (b *Book) Things() ([]string, error) { return b.names(".") }

func (b *Book) names(dir string) ([]string, error) {
	d, err := b.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	things := names[:0]
	for _, name := range names {
		if !strings.HasPrefix(name, ".") {
			things = append(things, name)
		}
	}
	return things, err
}

// read reads a claim. The error is errUnreadable, which is logged, for what is none and can become none.
func (b *Book) read(name string) (c Claim, err error) {
	text, err := b.text(name)
	if err != nil {
		if info, statErr := b.root.Lstat(name); statErr != nil || info.Mode().IsRegular() {
			return Claim{}, err
		}
	} else if err = json.Unmarshal(text, &c); err == nil && c.Owner != (Owner{}) {
		return c, nil
	}
	slog.Warn("file is no claim: it counts for nothing, and can be removed", "file", filepath.Join(b.root.Name(), name), "error", err)
	return Claim{}, errUnreadable
}

func (b *Book) text(name string) ([]byte, error) {
	const most = 1 << 16
	f, err := b.root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// file is the path of a claim: a hash, as names of owners may be longer than a file's. No part may hold a NUL.
func file(thing string, o Owner) string {
	sum := sha256.Sum256([]byte(o.Network + "\x00" + o.ContainerID + "\x00" + o.IfName))
	return thing + "/" + hex.EncodeToString(sum[:16])
}
