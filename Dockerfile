FROM python:3.11-slim AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/nexus
COPY requirements.runtime.lock ./
RUN /opt/nexus/bin/pip install --no-deps --require-hashes -r requirements.runtime.lock

# The wheel is built with the locked build backend, outside the environment that ships.
COPY requirements.lock ./
RUN awk '/^[^ ]/ { wanted = /^(hatchling|packaging|pathspec|pluggy|trove-classifiers)==/ } wanted' requirements.lock > build.lock \
 && pip install --no-deps --require-hashes -r build.lock
COPY pyproject.toml README.md LICENSE ./
COPY libs ./libs
COPY services ./services
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && /opt/nexus/bin/pip install --no-deps dist/*.whl

FROM python:3.11-slim
COPY --from=build /opt/nexus /opt/nexus
ENV PATH=/opt/nexus/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
# A volume that is new takes its owner from here.
RUN install -d -m 0700 -o 1000 -g 1000 /var/lib/nexus /var/lib/nexus/spool /var/lib/nexus/audit
USER 1000:1000
WORKDIR /tmp
CMD ["nexus"]
