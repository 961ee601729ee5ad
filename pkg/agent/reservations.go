package agent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// count reads which addresses containers have, of some networks or of all, and asks for what follows from that. One count ends
// before the next begins, so that the last to be kept is the last that was read.
func (a *Agent) count(names ...string) {
	a.counting.Lock()
	defer a.counting.Unlock()
	if len(names) == 0 {
		names = a.cache.anywhere()
	}
	for _, name := range names {
		addrs, err := a.machine.reserved(name)
		if err != nil {
			slog.Warn("addresses in use are not known", "network", name, "error", err)
			continue
		}
		if !a.cache.setReserved(name, addrs) {
			continue
		}
		a.askRemote(name)
		if len(addrs) == 0 || a.problems.of(ofAddresses+name) != nil || a.problems.of(ofNetwork+name) != nil {
			a.cache.mark(&a.cache.local, name) // one that was deleted goes with its last container
			a.wake.set()
		}
	}
}

// watchReservations is the source that reports containers which come and go, by host-local's directories. Without inotify,
// of which a host has a limited number, they are counted with each audit.
func (a *Agent) watchReservations(ctx context.Context) error {
	if err := os.MkdirAll(a.config.DataDir, 0o755); err != nil {
		return fmt.Errorf("data-dir: %w", err)
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		slog.Warn("inotify limit reached; new containers are detected only by polling: raise fs.inotify.max_user_instances", "error", err)
		watcher = &fsnotify.Watcher{} // which says nothing
	} else {
		defer func() { _ = watcher.Close() }() // nothing is buffered
	}
	var changed []string // all at first
	for first := true; ; first = false {
		if err == nil {
			a.watchDirectories(watcher, first)
		}
		a.count(changed...)
		if changed = quiet(ctx, watcher, a.usage, a.config.DataDir); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// watchDirectories watches host-local's, and those of the networks that have one yet. Of a new one we are told.
func (a *Agent) watchDirectories(watcher *fsnotify.Watcher, first bool) {
	if err := watcher.Add(a.config.DataDir); err != nil && first {
		slog.Warn("inotify limit reached; new containers are detected only by polling: raise fs.inotify.max_user_watches", "error", err)
	}
	for _, name := range a.cache.anywhere() {
		_ = watcher.Add(filepath.Join(a.config.DataDir, name)) // there may be none yet
	}
}

// settle is how long a burst of events is waited for: containers often come in numbers.
const settle = 20 * time.Millisecond

// quiet waits for an event and the end of its burst, or for a question, and gives the networks that it was about, none for all.
func quiet(ctx context.Context, watcher *fsnotify.Watcher, asked trigger, dir string) []string {
	var burst <-chan time.Time
	changed := make(map[string]bool)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err, open := <-watcher.Errors:
			if !open {
				return nil
			}
			slog.Warn("inotify", "error", err) // events may be missed: count
			return nil
		case e, open := <-watcher.Events:
			if !open {
				return nil
			}
			if !e.Has(fsnotify.Create | fsnotify.Remove | fsnotify.Rename) {
				continue
			}
			network := filepath.Base(filepath.Dir(e.Name))
			if filepath.Dir(e.Name) == filepath.Clean(dir) {
				network = filepath.Base(e.Name)
			}
			changed[network] = true
			if burst == nil {
				burst = time.After(settle)
			}
		case <-asked:
			return nil
		case <-burst:
			return slices.Collect(maps.Keys(changed))
		}
	}
}
