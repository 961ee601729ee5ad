// Package agent is the node agent of overlay networks: it follows the registry, keeps this host's part of each network as
// it has to be, and serves an API on a unix socket.
//
// What is known is kept apart from what is done about it. Four sources only report: etcd, the kernel's events, host-local's
// directory and the clock. One loop then brings files and kernel in line (local.go), and another tells etcd what it
// does not know of this host yet (remote.go). Both start from the whole and do what differs, so that it does not matter
// which report was missed. The local loop never waits for etcd.
//
// The agent runs in the host's network namespace and needs CAP_NET_ADMIN.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/fairway-cni/fairway/pkg/registry"
)

// Agent is the agent of one host.
type Agent struct {
	config    Config
	bootID    string
	registry  *registry.Client
	store     store
	conflists conflists
	known     *knowledge
	metrics   *metrics
	local     trigger // bring all of this host in line
	news      trigger // bring in line what etcd has changed
	usage     trigger // look at what containers have
	remote    trigger // tell etcd
	counting  sync.Mutex
	adopted   bool // of the local loop
}

// Run runs the agent until the context ends, and calls ready when the socket is there and all that the snapshots tell is
// in place. Traffic does not need the agent: nothing is taken away at the end.
func Run(ctx context.Context, c Config, ready func()) error {
	a, err := prepare(c)
	if err != nil {
		return err
	}
	defer a.registry.Close()
	server, err := a.listen()
	if err != nil {
		return err
	}
	a.purge(ctx)
	a.count()
	a.reconcile(ctx, everything)
	tasks, ctx := errgroup.WithContext(ctx)
	for _, task := range []func(context.Context) error{
		server.serve, a.follow, a.giveSign, a.connections, a.events, a.watchReservations, a.work, a.tell, a.bury,
	} {
		tasks.Go(func() error { return task(ctx) })
	}
	slog.Info("running", "node", c.Node, "underlay", a.known.vtep(), "socket", server.socket, "networks", len(a.known.networks()))
	ready()
	err = tasks.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

// prepare reads what is on disk.
func prepare(c Config) (*Agent, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("boot ID: %w", err)
	}
	a := &Agent{
		config: c, bootID: strings.TrimSpace(string(boot)), known: newKnowledge(),
		local: newTrigger(), news: newTrigger(), usage: newTrigger(), remote: newTrigger(),
	}
	if a.store, err = newStore(c.StateDir); err != nil {
		return nil, err
	}
	a.conflists = newConflists(c, a.store)
	snapshots, err := a.store.load()
	if err != nil {
		return nil, err
	}
	a.known.remember(snapshots)
	if a.registry, err = registry.Open(registry.Config{Endpoints: c.Endpoints, TLS: c.TLS}); err != nil {
		return nil, err
	}
	a.metrics = newMetrics(a)
	return a, nil
}

// trigger asks for something to be done once, however often it is set meanwhile.
type trigger chan struct{}

func newTrigger() trigger { return make(trigger, 1) }

func (t trigger) set() {
	select {
	case t <- struct{}{}:
	default:
	}
}
