package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/wgkey"
)

// keyring is this host's key for encrypted networks. It is made with the first of these that the host is a member of, and lies in the
// state directory, which survives a reboot. It may be used by several goroutines.
//
// While the key is being replaced, the next one lies beside it, then in both files, then in the first alone: a process that is killed
// goes on where it was.
type keyring struct {
	mu          sync.Mutex
	file, aside string
	key         *wgkey.Private // nil: not read yet
	next        *wgkey.Private // nil: none
}

func newKeyring(stateDir string) *keyring {
	return &keyring{file: filepath.Join(stateDir, "wireguard.key"), aside: filepath.Join(stateDir, "wireguard-next.key")}
}

var errNoKey = fmt.Errorf("key of this host for encrypted networks: %w: it is made with the first container on one", agentapi.ErrNotFound)

// private is the key, if there is one. The error wraps errNoKey when there is none.
func (r *keyring) private() (wgkey.Private, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.read()
}

func (r *keyring) read() (wgkey.Private, error) {
	if r.key != nil {
		return *r.key, nil
	}
	key, err := wgkey.Read(r.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return key, errNoKey
	case err != nil:
		return key, fmt.Errorf("key of this host: %w: remove the file, and the next start of fairwayd makes another", err)
	}
	r.key = &key
	if next, err := wgkey.Read(r.aside); err == nil {
		r.next = &next
	} else if !errors.Is(err, fs.ErrNotExist) {
		slog.Warn("the key of this host is not replaced: rotate it again", "error", err)
	}
	return key, nil
}

// public is the public key, zero without one.
func (r *keyring) public() overlay.Key {
	key, err := r.private()
	if err != nil {
		return overlay.Key{}
	}
	return key.Public()
}

// nextPublic is the public key that takes the place of the other, zero unless it is being replaced.
func (r *keyring) nextPublic() overlay.Key {
	if is := r.replaced(); is.ongoing() {
		return is.next.Public()
	}
	return overlay.Key{}
}

// ensure makes the key unless there is one, and says whether it did.
func (r *keyring) ensure() (made bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.read(); !errors.Is(err, errNoKey) {
		return false, err
	}
	if err := os.Remove(r.aside); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a key that somebody has removed
		return false, fmt.Errorf("key of this host: %w", err)
	}
	key, err := wgkey.Create(r.file)
	if err != nil {
		return false, fmt.Errorf("key of this host: %w", err)
	}
	r.key = &key
	slog.Info("made the key of this host for encrypted networks", "public", key.Public())
	return true, nil
}

// replaced is a key that is being replaced.
type replaced struct {
	key  wgkey.Private
	next *wgkey.Private // nil: it is not
	// since is when the last step was.
	since time.Time
}

func (r replaced) ongoing() bool { return r.next != nil }

// returning says that the first device has the next key already.
func (r replaced) returning() bool { return r.next != nil && *r.next == r.key }

// last is the key of spare devices.
func (r replaced) last() wgkey.Private {
	if r.next != nil {
		return *r.next
	}
	return r.key
}

// replaced is how far the key is.
func (r *keyring) replaced() (is replaced) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key, err := r.read()
	if err != nil {
		return replaced{}
	}
	is = replaced{key: key, next: r.next}
	if is.ongoing() {
		file := r.aside
		if is.returning() {
			file = r.file
		}
		if info, err := os.Stat(file); err == nil {
			is.since = info.ModTime()
		}
	}
	return is
}

// begin makes the next key. Errors: errNoKey, agentapi.ErrInUse.
func (r *keyring) begin() (wgkey.Private, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.read(); err != nil {
		return wgkey.Private{}, err
	}
	if r.next != nil {
		return wgkey.Private{}, fmt.Errorf("the key of this host is being replaced, and both are %w: GET /v1/health says which hosts have not followed", agentapi.ErrInUse)
	}
	next, err := wgkey.Create(r.aside)
	if errors.Is(err, fs.ErrExist) { // one that could not be read
		if err = os.Remove(r.aside); err == nil {
			next, err = wgkey.Create(r.aside)
		}
	}
	if err != nil {
		return next, fmt.Errorf("next key of this host: %w", err)
	}
	r.next = &next
	slog.Info("made the next key of this host for encrypted networks", "public", next.Public())
	return next, nil
}

// step puts the next key in the place of the first, and the second time ends.
func (r *keyring) step(from replaced) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if from.returning() {
		if err := os.Remove(r.aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		r.next = nil
		slog.Info("the key of this host was replaced", "public", from.key.Public())
		return nil
	}
	if err := wgkey.Replace(r.file, *from.next); err != nil {
		return err
	}
	r.key = from.next
	slog.Info("the next key of this host is the first now", "public", from.next.Public())
	return nil
}
