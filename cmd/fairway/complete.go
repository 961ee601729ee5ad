package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairway-cni/fairway/pkg/conflist"
)

// completeNetworkAndContainer completes the arguments of connect and disconnect.
func (e *env) completeNetworkAndContainer(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return e.networkNames(), cobra.ShellCompDirectiveNoFileComp
	case 1:
		return e.containerNames(cmd), cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// completeNetwork completes the name of one network, completeNetworks those of several.
func (e *env) completeNetwork(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return e.networkNames(), cobra.ShellCompDirectiveNoFileComp
}

func (e *env) completeNetworks(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	names := slices.DeleteFunc(e.networkNames(), func(completion cobra.Completion) bool {
		name, _, _ := strings.Cut(completion, "\t") // before the description
		return slices.Contains(args, name)
	})
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (e *env) networkNames() (names []cobra.Completion) {
	networks, err := conflist.Load(e.netconfDir) // warnings would disturb the line that is typed
	if err != nil {
		return nil
	}
	for _, n := range networks.All {
		names = append(names, cobra.CompletionWithDesc(n.Name, n.Driver))
	}
	return names
}

func (e *env) containerNames(cmd *cobra.Command) (names []cobra.Completion) {
	attached, err := e.runtime().List()
	if err != nil {
		return nil
	}
	running, _ := e.finder(attached).List(cmd.Context()) // without containerd there may be others
	for _, c := range running {
		names = append(names, cobra.CompletionWithDesc(c.Name, c.Runtime))
	}
	return names
}
