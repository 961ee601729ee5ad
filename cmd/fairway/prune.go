package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairway-cni/fairway/pkg/lifecycle"
)

const pruneWarning = `WARNING! This will remove all custom networks not used by at least one container.
Are you sure you want to continue? [y/N] `

func newPrune(e *env) *cobra.Command {
	var force bool
	var filters []string
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove all networks that no container is on",
		Long: `Remove all networks that fairway made and that no container is on. Networks that were made by hand or by other tools stay,
as a kubelet may depend on them.`,
		Example: `  fairway prune
  fairway prune -f --filter until=24h --filter 'label!=keep'`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := lifecycle.NewPruneFilter(filters, time.Now())
			if err != nil {
				return usageError{err}
			}
			if !force && !e.confirmed(pruneWarning) {
				return errors.New("prune was cancelled, nothing was removed")
			}
			ctx, cancel := undisturbed(cmd)
			defer cancel()
			return prune(ctx, e, filter)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	cmd.Flags().StringArrayVar(&filters, "filter", nil, "remove only networks that match `KEY=VALUE`: "+lifecycle.PruneKeys)
	e.addAgentFlag(cmd)
	must(cmd.RegisterFlagCompletionFunc("filter", completeKeys(lifecycle.PruneKeys)))
	return cmd
}

func prune(ctx context.Context, e *env, filter lifecycle.PruneFilter) error {
	removed, err := e.host().Prune(ctx, filter)
	if len(removed) > 0 {
		fmt.Fprintf(e.stdout, "Deleted Networks:\n%s\n", strings.Join(removed, "\n"))
	}
	return err
}

// confirmed asks a question. Only "y" and "yes" are a yes; the end of the input is a no.
func (e *env) confirmed(question string) bool {
	fmt.Fprint(e.stdout, question)
	answer, _ := bufio.NewReader(e.stdin).ReadString('\n') // what was read before an error is the answer
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true
	}
	return false
}
