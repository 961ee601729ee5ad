package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/lifecycle"
)

func newRm(e *env) *cobra.Command {
	var o rmFlags
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] NETWORK...",
		Aliases: []string{"remove"},
		Short:   "Remove networks",
		Long: `Remove networks: their files, bridges, rules and reserved addresses. A network with containers on it stays, and they are
named.`,
		Example: `  fairway rm lamp
  fairway rm -f lamp old      # no matter whether they are there`,
		Args:              arguments(1, many),
		ValidArgsFunction: e.completeNetworks(removable),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := undisturbed(cmd)
			defer cancel()
			return remove(ctx, e, args, o)
		},
	}
	cmd.Flags().BoolVarP(&o.force, "force", "f", false, "a network that is not there is no error")
	cmd.Flags().BoolVar(&o.foreign, "foreign", false, "remove files that others made as well: a kubelet may depend on them")
	e.addAgentFlag(cmd)
	return cmd
}

// rmFlags are those of `fairway rm`, as given.
type rmFlags struct{ force, foreign bool }

// remove goes on past errors, and prints the reference of each network that is gone.
func remove(ctx context.Context, e *env, refs []string, o rmFlags) error {
	networks, err := e.networks()
	if err != nil {
		return err
	}
	host := e.host()
	var errs []error
	for _, ref := range refs {
		n, err := networks.Find(ref)
		if errors.Is(err, conflist.ErrNotFound) && o.force {
			continue
		}
		if err == nil && !o.foreign {
			err = lifecycle.Made(n)
		}
		if err == nil {
			err = host.Remove(ctx, n)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintln(e.stdout, ref)
	}
	return errors.Join(errs...)
}
