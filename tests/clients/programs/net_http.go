package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

func say(answer *http.Response, err error) {
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		panic(err)
	}
	fmt.Println(answer.StatusCode, strings.ReplaceAll(string(body), "\n", " "))
}

func main() {
	url := os.Args[1]
	say(http.Get(url + "/readyz"))
	for _, file := range os.Args[2:] {
		body, err := os.ReadFile(file)
		if err != nil {
			panic(err)
		}
		say(http.Post(url+"/predict", "application/json", bytes.NewReader(body)))
	}
}
