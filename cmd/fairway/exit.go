package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
)

// The exit statuses. A command that runs another gives back that one's status (exitError).
const (
	exitFailure = 1
	exitUsage   = 2
)

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// exitError ends the process with a status and without a word: what there is to say has been said.
type exitError struct{ status int }

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", e.status) }

// failure is an error with an exit status other than exitFailure.
type failure struct {
	error
	status int
}

func (f failure) Unwrap() error { return f.error }

// run executes a command line and gives the exit status.
func run(e *env, args []string) int {
	out := &output{to: e.stdout}
	e.stdout = out
	root := newRoot(e)
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	if err == nil && out.err != nil {
		err = fmt.Errorf("standard output: %w", out.err)
	}
	var exit exitError
	var usage usageError
	var other failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.status
	case errors.As(err, &other):
	case errors.As(err, &usage):
		other.status = exitUsage
	default:
		other.status = exitFailure
	}
	e.complain(asRoot(err, os.Geteuid()))
	if errors.As(err, &usage) {
		fmt.Fprintf(e.stderr, "See '%s --help'.\n", cmd.CommandPath())
	}
	return other.status
}

// asRoot adds to an error what to do about it, when that is to be another user.
func asRoot(err error, user int) error {
	if user == 0 || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return fmt.Errorf("%w: run fairway as root", err)
}

// complain prints an error, and each of several on a line of its own.
func (e *env) complain(err error) {
	said := map[string]bool{} // several steps may fail for one reason
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if said[line] {
			continue
		}
		said[line] = true
		fmt.Fprintf(e.stderr, "fairway: %s\n", clean(line))
	}
}

// clean shows what would move a terminal's cursor: plugins, and others whose names are in errors, may say anything.
func clean(line string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, line)
}

// output remembers the first error of writing, which no command need look for then.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// arguments checks the number of arguments, and names them in the error as the command's usage line does.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least {
			return usageError{fmt.Errorf("an argument is missing: %s", cmd.UseLine())}
		}
		if most >= 0 && len(args) > most {
			return usageError{fmt.Errorf("%q is one argument too many: %s", args[most], cmd.UseLine())}
		}
		return nil
	}
}

// unknownCommand refuses what is not the name of a command, and proposes the one that looks most like it.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("%q is no command of %q", args[0], cmd.CommandPath())
	const most = 2 // typing errors, as cobra has it where it asks itself
	for typos := 1; typos <= most; typos++ {
		cmd.SuggestionsMinimumDistance = typos
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			return usageError{fmt.Errorf("%w: do you mean %q?", err, near[0])}
		}
	}
	return usageError{err}
}

// many as the most arguments: any number.
const many = -1

// must panics on what only a mistake in this program can cause.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
