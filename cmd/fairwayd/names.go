package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/fairway-cni/fairway/pkg/agent"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/names"
	"github.com/fairway-cni/fairway/pkg/resolver"
)

// resolvConf names the host's servers.
const resolvConf = "/etc/resolv.conf"

// linger is how long a resolver that was started by a plugin stays without a container: one that is started again keeps it.
const linger = 10 * time.Second

// resolverConfig is what a resolver of this host needs to know.
func resolverConfig() (resolver.Config, error) {
	cookie, err := kernel.HostCookie()
	return resolver.Config{Directory: names.OnHost(cookie), ResolvConf: resolvConf}, err
}

// answerAlone answers names and does nothing else, until nobody needs it.
func answerAlone(ctx context.Context) error {
	c, err := resolverConfig()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go endWithHost(ctx, cancel)
	c.Temporary, c.Linger = true, linger
	for err = resolver.ErrNeeded; errors.Is(err, resolver.ErrNeeded); {
		err = resolver.New(c).Run(ctx, func() { notify(daemon.SdNotifyReady) })
	}
	if errors.Is(err, resolver.ErrRunning) {
		slog.Info("ended: another resolver serves this host")
		return nil
	}
	return err
}

// answerFor answers names beside a node agent, which publishes them and enters those of other hosts.
func answerFor(ctx context.Context, agent *agent.Config) {
	index, read := names.NewIndex(), make(chan struct{})
	agent.Names, agent.NamesRead = index, read
	go answerBeside(ctx, index, sync.OnceFunc(func() { close(read) }))
}

// answerBeside answers names from an index beside the node agent, in place of a resolver that a plugin has started. read is called
// when the index has the records of this host.
func answerBeside(ctx context.Context, index *names.Index, read func()) {
	const pause = time.Second
	for ctx.Err() == nil {
		c, err := resolverConfig()
		if err == nil {
			_ = c.Directory.TellToLeave() // none may run
			c.Index = index
			err = resolver.New(c).Run(ctx, read)
		}
		if err != nil && ctx.Err() == nil {
			slog.Warn("names are not answered", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// endWithHost ends a resolver whose host has gone, as one in a container may: no other process is left in its namespace.
func endWithHost(ctx context.Context, end context.CancelCauseFunc) {
	const interval = 30 * time.Second
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(interval):
		}
		if alone() {
			slog.Info("ended: this host has no other process")
			end(nil)
			return
		}
	}
}

// alone says whether this process is the only one in its network namespace. What it cannot see counts as another.
func alone() bool {
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return false
	}
	others, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		return false
	}
	self := fmt.Sprintf("/proc/%d/ns/net", os.Getpid())
	for _, other := range others {
		if other == self {
			continue
		}
		link, err := os.Readlink(other)
		if err == nil && link == own || errors.Is(err, os.ErrPermission) {
			return false
		}
	}
	return true
}
