package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/fairway-cni/fairway/pkg/state/naming"
)

func newResolve(e *env) *cobra.Command {
	var network string
	cmd := &cobra.Command{
		Use:   "resolve [OPTIONS] NAME",
		Short: "Look up a container's name as a container of a network does",
		Long: `Look up a name, an alias or the beginning of an ID among the containers of a network, and print the addresses, one in a
line; of an address, the names. The exit status is 1 when nobody is called so. What containers on other hosts are called is known
where fairwayd runs with etcd. Names of the outside are not asked for.`,
		Example: `  fairway resolve apache --network lamp
  fairway resolve 10.5.0.2 --network lamp`,
		Args:              arguments(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(_ *cobra.Command, args []string) error {
			if network == "" {
				return usageError{errors.New("give --network: a name means something on a network only")}
			}
			found, err := e.resolve(network, args[0])
			for _, line := range found {
				fmt.Fprintln(e.stdout, line)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&network, "network", "", "the `network` to look in")
	must(cmd.RegisterFlagCompletionFunc("network", e.completeNetwork))
	return cmd
}

// resolve finds what is called by a name, or the names of an address.
func (e *env) resolve(ref, name string) (found []string, err error) {
	networks, err := e.networks()
	if err != nil {
		return nil, err
	}
	n, err := networks.Find(ref)
	if err != nil {
		return nil, err
	}
	if found, err = naming.Lookup(n.Name, name); err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("network %s has no container %s", n.Name, name)
	}
	slices.Sort(found)
	return found, nil
}
