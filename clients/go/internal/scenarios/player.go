package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"sluice"
)

const patience = 10 * time.Second

// failure is an error of a call or of the layer, as data.
type failure struct{ fields object }

func (f failure) Error() string { return "failed: " + short(f.fields) }

// player is the world of one scenario.
type player struct {
	saved      object
	clients    map[string]*sluice.Client
	first      string
	streams    map[string]*stream
	holds      map[string]*hold
	background map[string]chan outcome
	marks      map[string]time.Time
}

type outcome struct {
	answer object
	err    error
}

func newPlayer(clients, doors object, first string) (*player, error) {
	p := &player{
		first:      first,
		saved:      object{"runner": object{"pid": float64(os.Getpid())}, "doors": doors},
		clients:    map[string]*sluice.Client{},
		streams:    map[string]*stream{},
		holds:      map[string]*hold{},
		background: map[string]chan outcome{},
		marks:      map[string]time.Time{},
	}
	for name, how := range clients {
		fields, _ := how.(object)
		door, named := fields["door"].(string)
		if !named {
			door = "grpc"
		}
		var options []sluice.DialOption
		if keepalive, ok := fields["keepalive_ms"].(float64); ok {
			options = append(options, sluice.WithKeepalive(time.Duration(keepalive)*time.Millisecond))
		}
		client, err := sluice.Dial(doors[door].(string), options...)
		if err != nil {
			return nil, err
		}
		p.clients[name] = client
	}
	return p, nil
}

// What a step can be. An environment step has a hold too, so it comes first.
var words = []string{
	"environment", "call", "await", "open", "next", "until", "ends", "cancel", "drop", "driver", "hold", "told", "release", "run",
	"repeat", "mark", "elapsed", "check",
}

func wordOf(step object) string {
	index := slices.IndexFunc(words, func(word string) bool { _, ok := step[word]; return ok })
	if index < 0 {
		return ""
	}
	return words[index]
}

func (p *player) play(steps []object, path string) error {
	for i, unresolved := range steps {
		where, word := fmt.Sprintf("%s%d", path, i+1), wordOf(unresolved)
		if word == "repeat" {
			for turn := range int(number(unresolved["repeat"])) {
				if err := p.play(objects(unresolved["steps"]), fmt.Sprintf("%s[%d].", where, turn)); err != nil {
					return err
				}
			}
			continue
		}
		resolved, err := resolve(unresolved, p.saved)
		if err == nil {
			step := resolved.(object)
			err = p.do(word, step)
		}
		if err != nil {
			return fmt.Errorf("step %s (%s %s): %w", where, word, short(unresolved[word]), err)
		}
	}
	return nil
}

func objects(list any) []object {
	var found []object
	items, _ := list.([]any)
	for _, item := range items {
		found = append(found, item.(object))
	}
	return found
}

func (p *player) do(word string, step object) error {
	name, _ := step[word].(string)
	switch word {
	case "call":
		return p.call(step, name)
	case "await":
		return p.judge(step, func() (object, error) { return p.await(name, within(step)) })
	case "open":
		return p.open(step, name)
	case "next":
		return p.until(step, name, 1)
	case "until":
		atMost := math.MaxInt
		if limit, ok := step["at_most"].(float64); ok {
			atMost = int(limit)
		}
		return p.until(step, name, atMost)
	case "ends":
		return p.judge(step, func() (object, error) { return object{}, p.ends(name, within(step)) })
	case "cancel":
		p.streams[name].cancel()
	case "drop":
		return p.clients[name].Close()
	case "driver":
		return askDriver(step["driver"])
	case "hold":
		return p.hold(step)
	case "told":
		return p.told(step, name)
	case "environment":
		return p.environment(step)
	case "release":
		return p.holds[name].release()
	case "run":
		return p.run(step)
	case "mark":
		p.marks[name] = time.Now()
	case "elapsed":
		return match(step["expect"], milliseconds(time.Since(p.marks[name])), "ms")
	case "check":
		return match(step["expect"], step["check"], "value")
	default:
		return fmt.Errorf("the word is not known")
	}
	return nil
}

// judge acts, and compares what came of it with expect or error.
func (p *player) judge(step object, act func() (object, error)) error {
	wantedError, wantsError := step["error"]
	answer, err := act()
	var failed failure
	switch {
	case err == nil && wantsError:
		return fmt.Errorf("wanted an error, got %s", short(answer))
	case err == nil:
		if err := match(step["expect"], answer, "answer"); step["expect"] != nil && err != nil {
			return err
		}
	case !wantsError || !errors.As(err, &failed):
		return err
	default:
		answer = failed.fields
		if err := match(wantedError, answer, "error"); err != nil {
			return err
		}
	}
	p.save(step, answer)
	return nil
}

func (p *player) save(step object, answer object) {
	for _, key := range []string{"as", "save"} {
		if name, ok := step[key].(string); ok {
			p.saved[name] = answer
		}
	}
}

func (p *player) startOrJudge(step object, act func() (object, error)) error {
	name, ok := step["in_background"].(string)
	if !ok {
		return p.judge(step, act)
	}
	done := make(chan outcome, 1)
	p.background[name] = done
	go func() {
		answer, err := act()
		done <- outcome{answer, err}
	}()
	return nil
}
