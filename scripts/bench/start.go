package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

const startCase = "start of a process"

// starts is what a plugin's process takes that has nothing to do: it answers VERSION. Rows of two machines are read by it.
func (b bench) starts(ctx context.Context) ([]Row, error) {
	r := Row{Case: startCase, Verb: "exec", Unit: milliseconds}
	ways := []suite{b.upstream, b.ours}
	samples, err := streamInTurns(ctx, b.rounds+1, len(ways), func(turn int) (float64, error) { return ways[turn].start(ctx) })
	if err != nil {
		return nil, err
	}
	r.Reference, r.Ours = samples[0][1:], samples[1][1:]
	r.Ratio = r.Ours.median() / r.Reference.median()
	return []Row{r}, nil
}

// start is for how long a process lives that starts and has nothing to do.
func (s suite) start(ctx context.Context) (float64, error) {
	cmd := exec.CommandContext(ctx, s.dir+"/bridge")
	cmd.Env = []string{"CNI_COMMAND=VERSION"}
	cmd.Stdin = strings.NewReader(`{"cniVersion": "1.0.0"}`)
	begun := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%s VERSION: %w", cmd.Path, err)
	}
	return inMilliseconds(time.Since(begun)), nil
}
