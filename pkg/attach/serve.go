package attach

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/rescue"
)

// verbs is what a plugin does, once a call has been read and found sound.
type verbs interface {
	// add notes in the rollback what it makes, before anything else can fail.
	add(context.Context, *call, *rollback) (*types100.Result, error)
	check(context.Context, *call) error
	del(context.Context, *call) error
	gc(context.Context, *call) error
	status(context.Context, *call) error
}

// process serves the one call of a process and gives the exit code.
func process(name string, v verbs) int {
	forgoCollection()
	makeRoom(false)
	return run(name, v, os.Stdin, withoutSignal(os.Stdout), withoutSignal(os.Stderr))
}

// forgoCollection leaves garbage to the end of the process, as far as 64 MiB, which is more than a call ever needs. With the
// default, the collector begins at 4 MiB, which a network of a thousand peers comes to, and takes all processors.
func forgoCollection() {
	const percent = 1600 // of the smallest heap, 4 MiB at 100 (package runtime, heapMinimum)
	debug.SetGCPercent(percent)
}

// makeRoom has the stack grow to what a call needs, at once and while there is little on it: to double it four times in the middle of a
// call, and to look up each of the callers' frames for that, costs a fifteenth of an ADD. A function's frame is there whether or
// not it comes to what fills it.
//
//go:noinline
func makeRoom(fill bool) byte {
	const size = 24 << 10
	if !fill {
		return 0
	}
	var room [size]byte
	return room[copy(room[:], os.Args[0])%size] // any use of it
}

// run serves one call and gives the exit code. Standard output gets one JSON document or nothing.
func run(name string, v verbs, stdin io.Reader, stdout, stderr io.Writer) int {
	logTo(stderr)
	env := readEnv(os.Getenv)
	if env.Command == "" {
		about(name, stderr)
		return 0
	}
	c := &call{env: env}
	err := rescue.Call(func() error {
		if err := c.read(stdin); err != nil {
			return err
		}
		return c.serve(context.Background(), v, stdout)
	})
	c.close()
	if err == nil {
		return 0
	}
	if _, err := stdout.Write(cnierr.Document(err, c.version())); err != nil {
		slog.Error("error not reported on standard output", "error", err)
	}
	return 1
}

func (c *call) serve(ctx context.Context, v verbs, stdout io.Writer) error {
	switch c.env.Command {
	case "ADD":
		return c.serveAdd(ctx, v, stdout)
	case "CHECK":
		return v.check(ctx, c)
	case "DEL":
		return v.del(ctx, c)
	case "GC":
		return v.gc(ctx, c)
	case "STATUS":
		return v.status(ctx, c)
	}
	return printVersions(c, stdout) // read lets no other verb pass
}

// serveAdd adds and prints the result. An ADD that fails or panics is taken back, and so is one whose result does not reach
// the runtime, which would not know of the attachment.
func (c *call) serveAdd(ctx context.Context, v verbs, stdout io.Writer) (err error) {
	var made rollback
	defer func() {
		if err != nil {
			err = errors.Join(err, made.Run())
		}
	}()
	defer rescue.Panic(&err)
	result, err := v.add(ctx, c, &made)
	if err != nil {
		return err
	}
	return printResult(result, c.version(), stdout)
}
