package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/show"
	"github.com/fairway-cni/fairway/pkg/state/naming"
	"github.com/fairway-cni/fairway/pkg/state/ports"
)

func newInspect(e *env) *cobra.Command {
	var form string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] NETWORK...",
		Short: "Show all about networks, with the containers that are on them",
		Example: `  fairway inspect lamp
  fairway inspect -f '{{range .Containers}}{{.Name}} {{.IPv4Address}}{{println}}{{end}}' lamp
  fairway inspect --verbose lamp      # with the file it is made of`,
		Args:              arguments(1, many),
		ValidArgsFunction: e.completeNetworks(anyNetwork),
		RunE: func(_ *cobra.Command, args []string) error {
			objects, err := show.NewObjects(form)
			if err != nil {
				return usageError{err}
			}
			shown, failed := inspect(e, args, verbose)
			return errors.Join(objects.Print(e.stdout, shown), failed)
		},
	}
	cmd.Flags().StringVarP(&form, "format", "f", "", `"json", or a Go template`)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show the network's file and its content as well")
	must(cmd.RegisterFlagCompletionFunc("format", completeFormat("json")))
	return cmd
}

// inspect describes the networks that there are; the error names those that there are not.
func inspect(e *env, refs []string, verbose bool) (shown []any, failed error) {
	networks, err := e.settledFor(refs...)
	if err != nil {
		return nil, err
	}
	attached, err := e.runtime().List()
	if err != nil {
		// Only root may read the cache, and anybody may look at networks.
		e.warn(fmt.Errorf("containers are not shown: %w", err))
	}
	records, err := naming.Records()
	if err != nil {
		e.warn(fmt.Errorf("names of containers are not shown: %w", err))
	}
	published, err := publishedBy(attached)
	if err != nil {
		e.warn(fmt.Errorf("published ports are not shown: %w", err))
	}
	for _, ref := range refs {
		n, err := networks.Find(ref)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		alive := attachment.Of(n.Name, attached)
		network := show.Publishing(show.Named(show.Inspect(n, alive), records), alive, func(a attachment.Attachment) map[string][]show.Binding {
			return bindings(published[a.Owner().Tag()])
		})
		if verbose {
			network = show.Verbose(network, n)
		}
		shown = append(shown, network)
	}
	return shown, failed
}

// publishedBy is the published ports by their owners' tags, where there is somebody to own one.
func publishedBy(attached []attachment.Attachment) (map[string][]ports.Port, error) {
	if len(attached) == 0 {
		return nil, nil
	}
	k, err := kernel.Open("")
	if err != nil {
		return nil, err
	}
	defer k.Close()
	return ports.ByOwner(k)
}

// bindings sorts ports by those of the container.
func bindings(list []ports.Port) map[string][]show.Binding {
	shown := map[string][]show.Binding{}
	for _, p := range list {
		for _, single := range p.Singles() {
			name := fmt.Sprintf("%d/%s", single.ContainerPort, ports.ProtocolName(single.Protocol))
			shown[name] = append(shown[name], show.Binding{HostIP: single.HostIP.String(), HostPort: strconv.Itoa(int(single.HostPort))})
		}
	}
	return shown
}
