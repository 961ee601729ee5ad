package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/fairway-cni/fairway/pkg/hostlocal"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/registry"
)

// What a problem may be about, beside a network.
const (
	aboutEtcd     = "etcd"
	aboutNode     = "node"
	aboutUnderlay = "underlay"
	aboutReclaim  = "reclaim"
)

// aboutNetwork tells what is wrong with a network on this host, and aboutClaims what with this host's part of it in etcd.
func aboutNetwork(name string) string { return "network " + name }
func aboutClaims(name string) string  { return "claims in network " + name }

// aboutDefinition tells that a definition cannot be read, and aboutRecords which of the network's records are left out.
func aboutDefinition(name string) string { return "definition of network " + name }
func aboutRecords(name string) string    { return "records of network " + name }

// follow is the source that reports the registry.
func (a *Agent) follow(ctx context.Context) error {
	a.registry.Follow(ctx, follower{a})
	return ctx.Err()
}

type follower struct{ *Agent }

// Update takes a new state.
func (f follower) Update(s registry.State, changed []string) {
	slog.Debug("update", "revision", s.Revision, "networks", changed)
	f.known.setState(s)
	f.news.set()
	f.remote.set()
}

// Disturbed notes whether the registry is followed.
func (f follower) Disturbed(err error) {
	f.known.setFollows(err == nil)
	f.known.note(aboutEtcd, err)
}

// connections is the source that reports whether etcd is reached: the watch goes on by itself when it is again.
func (a *Agent) connections(ctx context.Context) error {
	a.registry.AwaitConnection(ctx, func(connected bool) {
		a.known.setLinked(connected)
		if connected {
			a.remote.set()
		}
	})
	return ctx.Err()
}

// giveSign keeps this host's sign of life in etcd.
func (a *Agent) giveSign(ctx context.Context) error {
	a.registry.StayAlive(ctx, a.config.Node, a.bootID, a.config.AliveTTL, func(err error) {
		if err != nil && !errors.Is(err, registry.ErrNodeTaken) {
			return // told by the one who follows
		}
		a.known.note(aboutNode, err)
		if a.known.setAlive(err == nil) {
			a.local.set()
		}
		a.remote.set()
	})
	return ctx.Err()
}

// events is the source that reports the kernel's: what happens to a VXLAN device, or to the underlay. Containers come and
// go by veths, which are no business of the agent, unless one is the underlay.
func (a *Agent) events(ctx context.Context) error {
	return kernel.Monitor(ctx, func(e kernel.Event) {
		if !strings.HasPrefix(e.Link, "veth") || e.Link == a.config.Underlay || e.Link == a.known.underlayLink() {
			a.local.set()
		}
	})
}

// purge removes what the containers of an earlier boot have left.
func (a *Agent) purge(ctx context.Context) {
	for name := range a.known.remembered() {
		if err := hostlocal.NewStore(a.reservations(name)).Purge(ctx); err != nil {
			slog.Warn("addresses of an earlier boot are not removed yet", "network", name, "error", err)
		}
	}
}

// reservations is where the addresses of a network's containers are.
func (a *Agent) reservations(network string) hostlocal.Config {
	return hostlocal.Config{Network: network, DataDir: a.config.DataDir}
}

// count reads which addresses containers have, and asks for what follows from that. One count ends before the next begins, so
// that the last to be kept is the last that was read.
func (a *Agent) count() {
	a.counting.Lock()
	defer a.counting.Unlock()
	for _, name := range a.known.anywhere() {
		addrs, err := hostlocal.NewStore(a.reservations(name)).Reserved()
		if err != nil {
			slog.Warn("addresses in use are not known", "network", name, "error", err)
			continue
		}
		if !a.known.setReserved(name, addrs) {
			continue
		}
		a.remote.set()
		if len(addrs) == 0 {
			a.news.set() // a network that was deleted goes with its last container
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
		slog.Warn("containers are noticed late: raise fs.inotify.max_user_instances", "error", err)
		watcher = &fsnotify.Watcher{} // which says nothing
	} else {
		defer func() { _ = watcher.Close() }() // nothing is buffered
	}
	for first := true; ; first = false {
		if err == nil {
			a.watchDirectories(watcher, first)
		}
		a.count()
		if !quiet(ctx, watcher, a.usage) {
			return ctx.Err()
		}
	}
}

// watchDirectories watches host-local's, and those of the networks that have one yet. Of a new one we are told.
func (a *Agent) watchDirectories(watcher *fsnotify.Watcher, first bool) {
	if err := watcher.Add(a.config.DataDir); err != nil && first {
		slog.Warn("containers are noticed late: raise fs.inotify.max_user_watches", "error", err)
	}
	for _, name := range a.known.anywhere() {
		_ = watcher.Add(filepath.Join(a.config.DataDir, name)) // there may be none yet
	}
}

// settle is how long a burst of events is waited for: containers often come in numbers.
const settle = 20 * time.Millisecond

// quiet waits for an event and the end of its burst, and says whether there may be more.
func quiet(ctx context.Context, watcher *fsnotify.Watcher, asked trigger) bool {
	var burst <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return false
		case err, open := <-watcher.Errors:
			if !open {
				return false
			}
			slog.Warn("inotify", "error", err) // events may be missed: count
			return true
		case e, open := <-watcher.Events:
			if !open {
				return false
			}
			if burst == nil && e.Has(fsnotify.Create|fsnotify.Remove|fsnotify.Rename) {
				burst = time.After(settle)
			}
		case <-asked:
			return true
		case <-burst:
			return true
		}
	}
}
