import java.net.URI;
import java.net.http.*;
import java.nio.file.Path;

class HttpClientAsk {
    public static void main(String[] given) throws Exception {
        var client = HttpClient.newHttpClient();  // which prefers HTTP/2, so it sends Upgrade: h2c
        say(client, HttpRequest.newBuilder(URI.create(given[0] + "/readyz")).build());
        for (int file = 1; file < given.length; file++)
            say(client, HttpRequest.newBuilder(URI.create(given[0] + "/predict"))
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofFile(Path.of(given[file]))).build());
    }

    static void say(HttpClient client, HttpRequest request) throws Exception {
        var answer = client.send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(answer.statusCode() + " " + answer.body().replace("\n", " "));
    }
}
