package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// healthyMax is how long all agents may take to find etcd.
const healthyMax = 2 * time.Minute

func (l lab) up(args []string) error {
	count, err := parseCount(args)
	if err != nil {
		return err
	}
	if err := l.requirements(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal ends the program at once
	file, err := create()
	if err != nil {
		return err
	}
	defer file.Close()
	switch err := l.raise(ctx, count); {
	case errors.Is(err, os.ErrExist):
		return errors.New("hosts are up already, or a call of up was cut short: `scripts/hosts ls` shows them, `scripts/hosts down` removes them")
	case err != nil:
		return errors.Join(err, os.Remove(base))
	}
	return l.ls(nil)
}

func parseCount(args []string) (int, error) {
	if len(args) == 0 {
		return 3, nil
	}
	count, err := strconv.Atoi(args[0])
	if err != nil || len(args) > 1 || count < 1 || count > testnet.MaxHosts {
		return 0, fmt.Errorf("give up one number, of hosts from 1 to %d: %w", testnet.MaxHosts, errUsage)
	}
	return count, nil
}

// requirements says in one sentence what is missing.
func (l lab) requirements() error {
	for _, name := range []string{"fairway", "fairwayd", "overlay-vxlan"} {
		if _, err := os.Stat(filepath.Join(l.bin, name)); err != nil {
			return fmt.Errorf("%s is not built: run `make build`: %w", name, err)
		}
	}
	for _, program := range []string{"etcd", "ip", "nsenter"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not installed: run `scripts/install-test-tools`", program)
		}
	}
	return nil
}

// raise leaves nothing when it fails.
func (l lab) raise(ctx context.Context, count int) (err error) {
	h, err := testnet.RaiseHosts(testnet.HostsConfig{Dir: dir, Count: count, Plugins: l.bin, Life: testnet.UntilDown})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	etcd, err := h.StartEtcd(1)
	if err != nil {
		return err
	}
	for _, host := range h.All {
		if ctx.Err() != nil {
			return errors.New("interrupted: what was raised is taken down again")
		}
		// Nobody else reaches this etcd.
		if _, err := host.StartAgent(etcd.Endpoints(), "--insecure-registry"); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, healthyMax)
	defer cancel()
	for _, host := range h.All {
		if err := host.AwaitHealthy(ctx); err != nil {
			return err
		}
	}
	return nil
}
