package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/fairway-cni/fairway/pkg/fence"
)

// files are what this host keeps on disk.
type files interface {
	// load reads all snapshots.
	load() (map[string]snapshot, error)
	// write replaces the document of the plugin, whose blocks are those offered, and sooner or later that of all hosts.
	write(s snapshot, offered []netip.Prefix) error
	// flush writes what was put off. It is asked for when write says so by pending.
	flush() error
	pending() bool
	remove(network string) error
	// saveNames replaces what is kept of a network's names, by the registry's key; loadNames gives it.
	saveNames(network string, all map[string]keptName) error
	loadNames(network string) (map[string]keptName, error)
	saveIdentity(i identity) error
	saveFence(f fence.Fence) error
	loadFence() (fence.Fence, error)
}

// store is the state directory.
type store struct {
	dir string
	// small is the documents of the plugin, as they were written last; late those of all hosts that are put off.
	small map[string][]byte
	late  map[string]snapshot
}

var _ files = store{}

const snapshotEnding = ".json"

func newStore(stateDir string) (store, error) {
	s := store{stateDir, make(map[string][]byte), make(map[string]snapshot)}
	for _, dir := range []string{s.networks(), s.all(), s.names()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return s, fmt.Errorf("state-dir: %w", err)
		}
	}
	return s, nil
}

func (s store) networks() string { return filepath.Join(s.dir, "networks") }
func (s store) all() string      { return filepath.Join(s.dir, "hosts") }
func (s store) names() string    { return filepath.Join(s.dir, "names") }

// path of the plugin's document, for key peersFile of its configuration; fullPath that of all hosts.
func (s store) path(network string) string {
	return filepath.Join(s.networks(), network+snapshotEnding)
}
func (s store) fullPath(network string) string { return filepath.Join(s.all(), network+snapshotEnding) }
func (s store) namesPath(network string) string {
	return filepath.Join(s.names(), network+snapshotEnding)
}
func (s store) fencePath() string    { return filepath.Join(s.dir, "confirmed.json") }
func (s store) identityPath() string { return filepath.Join(s.dir, "host.json") }

// load reads all snapshots. One that cannot be read is ignored, and written anew when etcd has been read.
func (s store) load() (map[string]snapshot, error) {
	entries, err := os.ReadDir(s.networks())
	if err != nil {
		return nil, fmt.Errorf("state-dir: %w", err)
	}
	all := make(map[string]snapshot)
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), snapshotEnding)
		if !ok || !e.Type().IsRegular() {
			continue // an unfinished one, or none of ours
		}
		snap, err := s.read(s.path(name), name)
		if err != nil {
			slog.Warn("snapshot is ignored until it is rebuilt from etcd", "network", name, "error", err)
			continue
		}
		if full, err := s.read(s.fullPath(name), name); err == nil && full.definition.Same(snap.definition) {
			snap = full
		}
		all[name] = snap
	}
	return all, nil
}

func (s store) read(path, network string) (snapshot, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return snapshot{}, err
	}
	snap, err := decodeSnapshot(data)
	if err == nil && snap.definition.Name != network {
		err = fmt.Errorf("it is of network %s", snap.definition.Name)
	}
	return snap, err
}

// write writes the plugin's document when it differs. That of all hosts, which only a restart needs, is put off unless this host's
// own part has changed.
func (s store) write(snap snapshot, offered []netip.Prefix) error {
	name := snap.definition.Name
	text, err := snap.forPlugin(offered, s.fullPath(name), s.fencePath())
	if err != nil {
		return err
	}
	s.late[name] = snap
	if bytes.Equal(s.small[name], text) {
		return nil
	}
	if err := s.writeFull(snap); err != nil {
		return err
	}
	if err := s.replace(s.path(name), text); err != nil {
		return err
	}
	s.small[name] = text
	return nil
}

func (s store) writeFull(snap snapshot) error {
	text, err := snap.full()
	if err != nil {
		return err
	}
	if err := s.replace(s.fullPath(snap.definition.Name), text); err != nil {
		return err
	}
	delete(s.late, snap.definition.Name)
	return nil
}

func (s store) pending() bool { return len(s.late) > 0 }

func (s store) flush() error {
	var errs []error
	for _, snap := range s.late {
		errs = append(errs, s.writeFull(snap))
	}
	return errors.Join(errs...)
}

// replace writes all of a file or nothing.
func (s store) replace(path string, text []byte) error {
	if err := renameio.WriteFile(path, text, 0o600); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

func (s store) remove(network string) error {
	delete(s.small, network)
	delete(s.late, network)
	for _, path := range []string{s.path(network), s.fullPath(network)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("snapshot: %w", err)
		}
	}
	return nil
}

func (s store) saveNames(network string, all map[string]keptName) error {
	if len(all) == 0 {
		if err := os.Remove(s.namesPath(network)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return s.replace(s.namesPath(network), append(text, '\n'))
}

func (s store) loadNames(network string) (all map[string]keptName, err error) {
	text, err := os.ReadFile(s.namesPath(network))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return all, json.Unmarshal(text, &all)
}

func (s store) saveIdentity(i identity) error {
	text, err := json.Marshal(i)
	if err != nil {
		return err
	}
	return s.replace(s.identityPath(), append(text, '\n'))
}

func (s store) saveFence(f fence.Fence) error { return s.replace(s.fencePath(), f.Encode()) }

func (s store) loadFence() (fence.Fence, error) { return fence.Read(s.fencePath()) }

// setAside keeps what another machine's directory says for a person to look at, and from everybody else.
func (s store) setAside() error {
	aside := filepath.Join(s.dir, "of-another-machine-"+time.Now().UTC().Format("20060102T150405"))
	if err := os.Mkdir(aside, 0o700); err != nil {
		return fmt.Errorf("state-dir: %w", err)
	}
	keys := newKeyring(s.dir)
	for _, path := range []string{keys.file, keys.aside, s.networks(), s.all(), s.names(), s.fencePath(), s.identityPath()} {
		if err := os.Rename(path, filepath.Join(aside, filepath.Base(path))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("state-dir: %w", err)
		}
	}
	_, err := newStore(s.dir)
	return err
}
