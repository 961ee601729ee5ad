package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/format"
	"github.com/fairway-cni/fairway/pkg/inspection"
	"github.com/fairway-cni/fairway/pkg/state/naming"
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
			objects, err := format.NewObjects(form)
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
	networks, err := e.networks()
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
	for _, ref := range refs {
		n, err := networks.Find(ref)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		network := inspection.Named(inspection.New(n, attachment.Of(n.Name, attached)), records)
		if verbose {
			network = inspection.Verbose(network, n)
		}
		shown = append(shown, network)
	}
	return shown, failed
}
