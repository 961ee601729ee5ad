package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

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

// answerBeside answers names beside the node agent, in place of a resolver that a plugin has started.
func answerBeside(ctx context.Context) {
	const pause = time.Second
	for ctx.Err() == nil {
		c, err := resolverConfig()
		if err == nil {
			_ = c.Directory.TellToLeave() // none may run
			err = resolver.New(c).Run(ctx, func() {})
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
