package main

import (
	"github.com/spf13/cobra"

	"github.com/fairway-cni/fairway/pkg/show"
)

func newLs(e *env) *cobra.Command {
	var o show.ListOptions
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List networks",
		Example: `  fairway ls
  fairway ls --filter driver=bridge --format '{{.Name}}'
  fairway ls --format 'table {{.Name}}\t{{.Driver}}\t{{.IPv6}}'`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			o.Used = e.used
			list, err := show.NewList(o)
			if err != nil {
				return usageError{err}
			}
			networks, err := e.networks()
			if err != nil {
				return err
			}
			return list.Print(e.stdout, networks.All)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.Quiet, "quiet", "q", false, "print IDs only")
	flags.BoolVar(&o.NoTrunc, "no-trunc", false, "print IDs in full")
	flags.StringVar(&o.Format, "format", "", `"table", "table TEMPLATE", "json", or a Go template`)
	flags.StringArrayVarP(&o.Filters, "filter", "f", nil, "print only networks that match `KEY=VALUE`: "+show.FilterKeys)
	must(cmd.RegisterFlagCompletionFunc("filter", completeKeys(show.FilterKeys)))
	must(cmd.RegisterFlagCompletionFunc("format", completeFormat("json", "table")))
	return cmd
}

// used gives the names of the networks that containers are on.
func (e *env) used() (map[string]bool, error) {
	all, err := e.runtime().List()
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, a := range all {
		used[a.Network] = used[a.Network] || a.Alive()
	}
	return used, nil
}
