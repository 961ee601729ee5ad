package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fairway-cni/fairway/pkg/conflist"
)

func newRepair(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "repair [NETWORK]",
		Short: "Declare again the rules of containers that are attached",
		Long: `Declare again what filters and translates the packets of containers that are attached: masquerading, isolation, checks of
MAC addresses, and the filters of overlay networks. "nft flush ruleset", or a firewall service that is started again, takes
them away. It does not matter which runtime has attached the containers, and nothing is detached.

Without NETWORK it is done for all networks. fairwayd does so by itself.`,
		Example: `  fairway repair
  fairway repair web`,
		Args:              arguments(0, 1),
		ValidArgsFunction: e.completeNetworks(anyNetwork),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := undisturbed(cmd)
			defer cancel()
			return e.repair(ctx, args)
		},
	}
}

func (e *env) repair(ctx context.Context, args []string) error {
	network := ""
	if len(args) > 0 {
		networks, err := e.networks()
		if err != nil {
			return err
		}
		// The network's file may have gone, with containers still on it.
		network = args[0]
		if n, err := networks.Find(network); err == nil {
			network = n.Name
		} else if !errors.Is(err, conflist.ErrNotFound) {
			return err
		}
	}
	repaired, err := e.runtime().Repair(ctx, network)
	for _, a := range repaired {
		fmt.Fprintf(e.stdout, "%s\t%s\t%s\n", a.Network, a.DisplayName(), a.IfName)
	}
	return err
}
