package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/wgkey"
)

// newOverlay makes the commands about the hosts of overlay networks, which fairwayd serves.
func newOverlay(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "overlay",
		Short: "Hosts of overlay networks",
		Example: `  fairway overlay forget rack3-host7
  fairway overlay genkey /etc/fairway/wide.key`,
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newForget(e), newGenkey(e))
	return cmd
}

func newGenkey(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "genkey FILE",
		Short: "Make the key of this host for encrypted overlay networks without a node agent",
		Long: `Make a private key in a new file, which only its owner can read, and print the public key: the one is privateKeyFile in the network's
configuration on this host, the other publicKey of this host's entry on all. A file that exists is refused, and stays. With fairwayd,
which makes its own keys, none is needed.`,
		Example: `  fairway overlay genkey /etc/fairway/wide.key`,
		Args:    arguments(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			key, err := wgkey.Create(args[0])
			if err != nil {
				return err
			}
			fmt.Fprintln(e.stdout, key.Public())
			return nil
		},
	}
}

func newForget(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "forget [OPTIONS] HOST...",
		Short: "Give others the addresses of hosts that are gone for good",
		Long: `Take everything that hosts own in overlay networks, for others to have. It is for hosts that are gone for good, or replaced by
another machine of the same name: containers that still run there lose their addresses to others. A host that is alive is refused.`,
		Example: `  fairway overlay forget rack3-host7`,
		Args:    arguments(1, many),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := untilInterrupted(cmd)
			defer cancel()
			return forget(ctx, e, args)
		},
	}
	e.addAgentFlag(cmd)
	return cmd
}

// forget goes on past errors, and prints the name of each host that was forgotten.
func forget(ctx context.Context, e *env, hosts []string) error {
	agent := agentapi.New(e.agent)
	var errs []error
	for _, host := range hosts {
		if err := agent.Forget(ctx, host); err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintln(e.stdout, host)
	}
	return errors.Join(errs...)
}
