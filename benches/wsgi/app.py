"""The application that benches/wsgi/compare asks: Flask, as its tutorial begins."""

from flask import Flask, Response, request

app = Flask(__name__)
LONG = '"' + "x" * 99_998 + '"'


@app.get("/")
def hello():
    return "hello"


@app.get("/json")
def json():
    return Response(LONG, mimetype="application/json")


@app.post("/upload")
def upload():
    return str(len(request.get_data()))
