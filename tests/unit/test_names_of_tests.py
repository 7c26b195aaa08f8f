"""No test's name holds the file that it is about: see conftest.py of the repository."""


def test_names_are_short(request):
    longest = max((item.name for item in request.session.items), key=len)

    assert len(longest) < 400, longest[:400]
