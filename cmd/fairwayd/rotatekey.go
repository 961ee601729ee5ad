package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/interrupt"
)

// rotateKey has the agent that runs replace its key, and waits until it has. Interrupted, the agent goes on.
func rotateKey(args []string, out io.Writer) int {
	f := pflag.NewFlagSet("fairwayd rotate-key", pflag.ContinueOnError)
	runDir := f.String("run-dir", agentapi.DefaultRunDir, "`directory` of the agent's socket")
	err := f.Parse(args)
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, "fairwayd rotate-key:", err)
		return 2
	}
	ctx, stop := interrupt.Context(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	if err := awaitRotation(ctx, agentapi.New(agentapi.Socket(*runDir)), out); err != nil {
		fmt.Fprintln(os.Stderr, "fairwayd rotate-key:", err)
		return 1
	}
	return 0
}

// awaitRotation begins one, and tells how far it is until it is over.
func awaitRotation(ctx context.Context, agent *agentapi.Client, out io.Writer) error {
	begun, err := agent.RotateKey(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "new public key", begun.PublicKey)
	for told := ""; ; {
		health, err := agent.Health(ctx)
		switch {
		case ctx.Err() != nil:
			return errors.New("interrupted: fairwayd goes on")
		case err != nil && !errors.Is(err, agentapi.ErrNoAgent): // it may be started again
			return err
		case err == nil && health.Rotation == nil:
			fmt.Fprintln(out, "done")
			return nil
		case err == nil:
			if text := strings.Join(health.Rotation.Waiting, ", "); text != "" && text != told {
				fmt.Fprintln(out, "waiting for", text)
				told = text
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}
