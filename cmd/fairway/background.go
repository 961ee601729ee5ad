package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/sandbox"
)

func newLogs(e *env) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs [OPTIONS] CONTAINER",
		Short: "Print what a command in the background has printed",
		Long: `Print what a command that "fairway run --detach" has started has printed: standard output and standard error. The last 4 MiB at least are kept,
in memory.`,
		Example:           `  fairway logs --follow web`,
		Args:              arguments(1, 1),
		ValidArgsFunction: e.completeBackground,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.containers().Find(args[0])
			if err != nil {
				return err
			}
			ctx, cancel := untilInterrupted(cmd)
			defer cancel()
			return e.containers().Printed(ctx, c.ID, e.stdout, follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the command ends")
	return cmd
}

// stopFlags are those of `fairway stop`, as given.
type stopFlags struct {
	signal  string
	seconds int
}

func newStop(e *env) *cobra.Command {
	var o stopFlags
	cmd := &cobra.Command{
		Use:   "stop [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "End commands in the background",
		Long: `End commands that "fairway run --detach" has started: by a signal, and when that does not help by SIGKILL. Nothing is left of them then,
also of one that has ended before.`,
		Example:           `  fairway stop web mysql`,
		Args:              arguments(1, many),
		ValidArgsFunction: e.completeBackground,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := undisturbed(cmd)
			defer cancel()
			var errs []error
			for _, ref := range args {
				if err := e.stop(ctx, ref, o); err != nil {
					errs = append(errs, err)
					continue
				}
				if _, err := fmt.Fprintln(e.stdout, ref); err != nil {
					errs = append(errs, err)
				}
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().StringVarP(&o.signal, "signal", "s", "TERM", "`signal` that is sent first")
	cmd.Flags().IntVarP(&o.seconds, "time", "t", 10, "`seconds` until SIGKILL")
	return cmd
}

func (e *env) stop(ctx context.Context, ref string, o stopFlags) error {
	signal := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(o.signal), "SIG"))
	if signal == 0 || o.seconds < 0 {
		return usageError{fmt.Errorf("--signal %s --time %d: give the name of a signal, such as INT, and a number of seconds", o.signal, o.seconds)}
	}
	c, err := e.containers().Find(ref)
	if err != nil {
		return err
	}
	return e.containers().Stop(ctx, c, signal, time.Duration(o.seconds)*time.Second)
}

// execFlags are those of `fairway exec`, as given.
type execFlags struct {
	user, dir             string
	env                   []string
	interactive, terminal bool // as always; given by fingers trained on Docker
}

func newExec(e *env) *cobra.Command {
	var o execFlags
	cmd := &cobra.Command{
		Use:   "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
		Short: "Run a further command beside one in the background",
		Long: `Run a command in the namespaces of one that "fairway run --detach" has started: it has its networks, names, processes and environment, and
this terminal. It ends with the container. The exit status is the command's; 125 to 127 are as with "fairway run".`,
		Example: `  fairway exec web ip addr
  fairway exec -it web sh`,
		ValidArgsFunction: e.completeBackground,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return failure{usageError{errors.New("give a container, and a command to run in it")}, runFailure}
			}
			status, err := e.exec(o, args[0], args[1:])
			switch {
			case err != nil:
				return failure{err, runFailure}
			case status != 0:
				return exitError{status}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the command is the command's
	flags.StringVarP(&o.user, "user", "u", "", "`USER[:GROUP]` that runs the command, by name or number")
	flags.StringVarP(&o.dir, "workdir", "w", "", "`directory` that the command begins in (default: the container's)")
	flags.StringArrayVarP(&o.env, "env", "e", nil, "set a variable of the environment, as `KEY=VALUE`")
	flags.BoolVarP(&o.interactive, "interactive", "i", true, "standard input is the command's in any case")
	flags.BoolVarP(&o.terminal, "tty", "t", true, "the terminal is the command's in any case")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return failure{flagError(err), runFailure} })
	return cmd
}

func (e *env) exec(o execFlags, ref string, command []string) (int, error) {
	c, err := e.containers().Find(ref)
	if err != nil {
		return 0, err
	}
	if !c.Running {
		return 0, fmt.Errorf("container %s has ended", c.Name)
	}
	var spec sandbox.Spec // which holds what the same flags of run say
	if err := (runFlags{user: o.user, dir: o.dir, env: o.env}).process(&spec); err != nil {
		return 0, usageError{err}
	}
	inside := sandbox.Inside{Init: c.Init, Command: command, Env: spec.Env, User: spec.User, Dir: spec.Dir}
	if inside.Dir == "" {
		inside.Dir = c.Dir
	}
	return sandbox.Exec(inside)
}

// completeBackground completes the names of commands in the background.
func (e *env) completeBackground(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var names []cobra.Completion
	all, err := e.containers().List()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	for _, c := range all {
		names = append(names, c.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
