// Command fairwayd is the node agent of overlay networks. It runs in the foreground, as root, in the host's namespaces.
//
//go:debug containermaxprocs=1
//go:debug updatemaxprocs=1
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/agent"
	"github.com/fairway-cni/fairway/pkg/fastpath"
	"github.com/fairway-cni/fairway/pkg/interrupt"
)

// version is the release, stamped by the build.
var version = "devel"

func main() { os.Exit(run(os.Args[1:])) }

// run gives the exit status: 0 after a signal, 2 for a mistake in the options, else 1.
func run(args []string) int {
	if len(args) > 0 && args[0] == "rotate-key" {
		return rotateKey(args[1:], os.Stdout)
	}
	o, err := parse(args, os.Hostname)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, "fairwayd:", err)
		return 2
	case o.showVersion:
		fmt.Println("fairwayd", version)
		return 0
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: o.level})))
	ctx, stop := interrupt.Context(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	if o.namesOnly {
		return status(answerAlone(ctx))
	}
	answerFor(ctx, &o.agent)
	go keepRules(ctx, filepath.SplitList(o.cniPath))
	if o.holdPorts {
		go holdPorts(ctx)
	}
	if o.fastPath {
		fast := &fastpath.Keeper{}
		o.agent.Carried = fast.Carried
		end := carryFast(ctx, fast)
		defer end()
	}
	if err := agent.Run(ctx, o.agent, func() { notify(daemon.SdNotifyReady) }); err != nil {
		return status(err)
	}
	notify(daemon.SdNotifyStopping)
	slog.Info("stopped: networks stay as they are")
	return 0
}

// status reports an error and gives the exit status.
func status(err error) int {
	if err == nil {
		return 0
	}
	slog.Error("ended", "error", err)
	return 1
}

// notify tells systemd, if that has started us (sd_notify(3)).
func notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		slog.Warn("systemd was not notified", "error", err)
	}
}
