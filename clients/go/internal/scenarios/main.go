// Command scenarios plays one scenario of test/clients/scenarios.yaml with this client. test/clients/README.md says what the words mean.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

type object = map[string]any

var input = bufio.NewReader(os.Stdin)

func main() {
	var told struct {
		Scenario struct {
			Clients json.RawMessage `json:"clients"`
			Steps   []object        `json:"steps"`
		} `json:"scenario"`
		Doors object `json:"doors"`
	}
	if err := listen(&told); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	clients := object{"main": object{}}
	if len(told.Scenario.Clients) > 0 {
		clients = nil
		if err := json.Unmarshal(told.Scenario.Clients, &clients); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	player, err := newPlayer(clients, told.Doors, firstName(told.Scenario.Clients))
	if err == nil {
		err = player.play(told.Scenario.Steps, "")
	}
	if err != nil {
		say(object{"passed": false, "why": err.Error()})
		return
	}
	// Streams that are still open, and goroutines that read them, end with the process.
	say(object{"passed": true})
}

// firstName is the first name of an object: maps have no order in Go, and a step that names no client uses the first.
func firstName(clients json.RawMessage) string {
	tokens := json.NewDecoder(bytes.NewReader(clients))
	for range 2 {
		if token, err := tokens.Token(); err == nil {
			if name, ok := token.(string); ok {
				return name
			}
		}
	}
	return "main"
}

// say is one line to the driver.
func say(message object) {
	line, err := json.Marshal(message)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func listen(message any) error {
	line, err := input.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, message)
}

// askDriver has the driver do something to the world, and waits until it is done. A deed is a word, or a word with an argument.
func askDriver(deed any) error {
	word, argument := deed, any(nil)
	if asked, ok := deed.(object); ok {
		for word, argument = range asked {
		}
	}
	say(object{"driver": word, "argument": argument})
	var answer struct {
		Ok  bool   `json:"ok"`
		Why string `json:"why"`
	}
	if err := listen(&answer); err != nil {
		return err
	}
	if !answer.Ok {
		return errors.New("the driver could not do it: " + answer.Why)
	}
	return nil
}
