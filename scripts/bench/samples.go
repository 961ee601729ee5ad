package main

import (
	"slices"
	"time"
)

// Samples are what the rounds of one case gave, in one unit.
type Samples []float64

func (s Samples) min() float64 { return slices.Min(s) }

// p99 is what 99 of 100 do not exceed: the greatest of fewer than 100.
func (s Samples) p99() float64 {
	sorted := slices.Sorted(slices.Values(s))
	return sorted[(len(sorted)*99+99)/100-1]
}

// median is the mean of the middle two when their number is even.
func (s Samples) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

const (
	milliseconds = "ms"
	perSecond    = "/s"
	times        = "×"
	gigabits     = "Gb/s"
)

// unit is what the samples of a case are counted in.
func (c Case) unit() string {
	if c.width() > 1 {
		return perSecond
	}
	return milliseconds
}

// sample turns the time that one round took into the unit of the case.
func (c Case) sample(d time.Duration) float64 {
	if c.unit() == perSecond {
		return float64(c.width()) / d.Seconds()
	}
	return inMilliseconds(d)
}

func inMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// width is the number of attachments in one round.
func (c Case) width() int { return max(c.InFlight, 1) }
