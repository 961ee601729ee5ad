package main

import (
	"cmp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairway-cni/fairway/pkg/blueprint"
	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/container"
	"github.com/fairway-cni/fairway/pkg/driver"
)

// completed are proposals without the files of the directory among them.
const completed = cobra.ShellCompDirectiveNoFileComp

// completeConnect completes a network and a container for it.
func (e *env) completeConnect(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return e.networkNames(connectable), completed
	case 1:
		return append(e.containerNames(cmd), boundNamespaces(typed)...), completed
	}
	return nil, completed
}

// completePublish completes a container.
func (e *env) completePublish(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, completed
	}
	return append(e.containerNames(cmd), boundNamespaces(typed)...), completed
}

// completeDisconnect completes a network and a container that is on it.
func (e *env) completeDisconnect(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return e.networkNames(connectable), completed
	case 1:
		return append(e.attachedNames(cmd, args[0]), boundNamespaces(typed)...), completed
	}
	return nil, completed
}

// completeNetwork completes the name of one network.
func (e *env) completeNetwork(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return e.networkNames(anyNetwork), completed
}

// completeNetworks completes the names of several networks, each once.
func (e *env) completeNetworks(wanted func(conflist.Network) bool) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		names := slices.DeleteFunc(e.networkNames(wanted), func(completion cobra.Completion) bool {
			name, _, _ := strings.Cut(completion, "\t") // before the description
			return slices.Contains(args, name)
		})
		return names, completed
	}
}

func anyNetwork(conflist.Network) bool    { return true }
func removable(n conflist.Network) bool   { return !n.Predefined() }
func connectable(n conflist.Network) bool { return driver.Of(n.Driver).Fixed == "" }

func (e *env) networkNames(wanted func(conflist.Network) bool) (names []cobra.Completion) {
	networks, err := conflist.Load(e.netconfDir) // warnings would disturb the line that is typed
	if err != nil {
		return nil
	}
	for _, n := range networks.All {
		if wanted(n) {
			names = append(names, cobra.CompletionWithDesc(n.Name, n.Driver))
		}
	}
	return names
}

// containerNames are those of all containers that run.
func (e *env) containerNames(cmd *cobra.Command) (names []cobra.Completion) {
	attached, err := e.runtime().List()
	if err != nil {
		return nil
	}
	running, _ := e.finder(attached).List(cmd.Context()) // without containerd there may be others
	for _, c := range running {
		names = append(names, named(c))
	}
	return names
}

// attachedNames are those of the containers on a network, and of those that have gone without leaving it.
func (e *env) attachedNames(cmd *cobra.Command, ref string) (names []cobra.Completion) {
	attached, err := e.runtime().List()
	if err != nil {
		return nil
	}
	network := ref
	if networks, err := conflist.Load(e.netconfDir); err == nil {
		if n, err := networks.Find(ref); err == nil {
			network = n.Name
		}
	}
	running, _ := e.finder(attached).List(cmd.Context())
	for _, c := range running {
		if len(ofContainer(network, c, attached)) > 0 {
			names = append(names, named(c))
		}
	}
	for _, a := range attached {
		if a.Network == network && !a.Alive() {
			names = append(names, cobra.CompletionWithDesc(cmp.Or(a.Name, a.ID), "gone, give --force"))
		}
	}
	return names
}

func named(c container.Container) cobra.Completion {
	return cobra.CompletionWithDesc(c.Name, c.Runtime)
}

// boundNamespaces are those of `ip netns`, once it is clear that one is meant.
func boundNamespaces(typed string) (names []cobra.Completion) {
	if typed == "" || !strings.HasPrefix(typed, "netns:") && !strings.HasPrefix("netns:", typed) {
		return nil
	}
	for _, name := range container.Bound() {
		names = append(names, "netns:"+name)
	}
	return names
}

// completeDriver proposes Docker's drivers and the plugins that are installed, but for those that are no driver.
func (e *env) completeDriver(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	drivers := driver.Proposed()
	for _, kind := range driver.Path(e.pluginDirs()).Types() {
		if driver.Makes(kind) && !slices.Contains(drivers, driver.Of(kind).Name) {
			drivers = append(drivers, kind)
		}
	}
	return drivers, completed
}

// completeOption proposes the options of the driver that is given.
func completeOption(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	name, _ := cmd.Flags().GetString("driver") // a command without the flag has no options either
	var names []cobra.Completion
	for _, option := range blueprint.Options(cmp.Or(name, driver.Default)) {
		names = append(names, option+"=")
	}
	return names, completed | cobra.ShellCompDirectiveNoSpace
}

// completeKeys proposes the keys of a list such as "driver, id" for KEY=VALUE.
func completeKeys(keys string) cobra.CompletionFunc {
	var names []cobra.Completion
	for key := range strings.SplitSeq(keys, ", ") {
		names = append(names, key+"=")
	}
	return cobra.FixedCompletions(names, completed|cobra.ShellCompDirectiveNoSpace)
}

// completeFormat proposes the forms that have a name.
func completeFormat(names ...cobra.Completion) cobra.CompletionFunc {
	return cobra.FixedCompletions(names, completed)
}
